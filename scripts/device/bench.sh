# On the GPU machine, in the repository's root, after unpack.sh: sh scripts/device/bench.sh ARGUMENTS of bench/cuda
out=packages/backend-cuda/dist/device/bench.mjs
node node_modules/esbuild/bin/esbuild bench/cuda/main.ts --bundle --platform=node --format=esm --log-level=warning \
  --tsconfig=scripts/device/tsconfig.json --external:koffi --external:'@tensorflow/*' --outfile=$out || exit
exec node $out "$@"
