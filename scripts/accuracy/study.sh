# The study of accuracy (scripts/accuracy/README.md): sh scripts/accuracy/study.sh ARGUMENTS of study.ts, in the repository's root.
# Bundled first, so that sources are enough; where it lies, the CUDA backend finds its kernels. SPFT_STUDY_BUNDLE: a bundle that is there already.
out=${SPFT_STUDY_BUNDLE:-packages/backend-cuda/.device/bundles/study.mjs}
[ -n "$SPFT_STUDY_BUNDLE" ] || node node_modules/esbuild/bin/esbuild scripts/accuracy/study.ts --bundle --platform=node --format=esm --log-level=warning \
  --tsconfig=scripts/device/tsconfig.json --external:koffi --external:'@tensorflow/*' --outfile="$out" \
  --banner:js="import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);" || exit
[ -f "$(dirname "$out")/../package.json" ] || echo "{\"version\":\"study\"}" >"$(dirname "$out")/../package.json"
exec node "$out" "$@"
