# On the GPU machine, in the repository's root, after unpack.sh: sh scripts/device/bench.sh ARGUMENTS of bench/cuda/main.ts
#                                                            or: sh scripts/device/bench.sh load ARGUMENTS of bench/cuda/load.ts
# Rows whose time is the host's, beside PyTorch, in two minutes: --rows smollm2_lora,smollm2_sparselora --peer bench/cuda/torch_peer.py \
#   --peer_modes smollm2,smollm2_compile,smollm2_compile_graphs; that nothing leaks: --rows smollm2_lora --steps 2000 --no_verify
name=main
[ "$1" = load ] && name=load && shift
out=packages/backend-cuda/.device/bundles/bench-$name.mjs
node node_modules/esbuild/bin/esbuild bench/cuda/$name.ts --bundle --platform=node --format=esm --log-level=warning \
  --tsconfig=scripts/device/tsconfig.json --external:koffi --external:'@tensorflow/*' --outfile=$out || exit
exec node $out "$@"
