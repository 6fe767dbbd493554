#!/usr/bin/env bash
# Makes the backend `tensorflow` where what npm would download for it cannot be had: compiles the addon of @tensorflow/tfjs-node from npm's sources
# against TensorFlow's C library of PyPI's wheel. Linux x64; needs npm, g++, python3 with pip, and no Python of a certain version.
#
#   bash scripts/tensorflow/build.sh [cpu|gpu] [PROJECT]     PROJECT: a folder with a package.json, default the one this is called in
#
# `gpu` makes @tensorflow/tfjs-node-gpu, of PyPI's TensorFlow with CUDA; SPFT_TENSORFLOW_CUDA=1 gets the wheels of CUDA 12.2 and cuDNN that it loads
# (2 GB) as well. What was downloaded is kept in SPFT_TENSORFLOW_CACHE (default: ~/.cache/spft/tensorflow), of which the addon loads the libraries: it must stay.
set -euo pipefail
kind=${1:-cpu}
project=$(cd "${2:-.}" && pwd)
tfjs=4.22.0
tensorflow=2.15.1
headers=1.9.0
case $kind in
  cpu) package=@tensorflow/tfjs-node wheel=tensorflow-cpu ;;
  gpu) package=@tensorflow/tfjs-node-gpu wheel=tensorflow ;;
  *) echo "scripts/tensorflow/build.sh: '$kind' is neither cpu nor gpu" >&2 && exit 2 ;;
esac
refuse() { echo "scripts/tensorflow/build.sh: $1" >&2 && exit 1; }
[ "$(uname -sm)" = 'Linux x86_64' ] || refuse "this recipe is for Linux on x64, this is $(uname -sm); npm install $package downloads its own library elsewhere"
for tool in npm g++ python3; do command -v "$tool" >/dev/null || refuse "$tool is needed and was not found"; done
python3 -m pip --version >/dev/null 2>&1 || refuse 'pip of python3 is needed and was not found'
[ -f "$project/package.json" ] || refuse "there is no package.json in $project"

cache=${SPFT_TENSORFLOW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/spft/tensorflow}
home=$cache/$wheel-$tensorflow
mkdir -p "$cache"
work=$(mktemp -d "$cache/.making.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The library and its headers, renamed into place when they are whole. A wheel is for one Python, which is not needed to unpack it.
if [ ! -f "$home/tensorflow/libtensorflow_cc.so.2" ]; then
  python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp --python-version 3.11 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d "$work" "$wheel==$tensorflow"
  python3 - "$work" <<'PY'
import glob, os, sys, zipfile
work = sys.argv[1]
wanted = ('tensorflow/include/', 'tensorflow/libtensorflow_cc.so.2', 'tensorflow/libtensorflow_framework.so.2')
with zipfile.ZipFile(glob.glob(os.path.join(work, '*.whl'))[0]) as wheel:
    for name in wheel.namelist():
        # Headers of Python's and CUDA's own are of no use to the addon.
        if name.startswith(wanted) and '/include/external/' not in name:
            wheel.extract(name, os.path.join(work, 'home'))
PY
  rm -rf "$home" && mv "$work/home" "$home"
fi
if [ "$kind" = gpu ] && [ "${SPFT_TENSORFLOW_CUDA:-0}" = 1 ] && [ ! -d "$home/nvidia/cudnn" ]; then
  # The versions of `tensorflow[and-cuda]`. The library looks for them beside its own folder.
  python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-deps --target "$home" nvidia-cublas-cu12==12.2.5.6 \
    nvidia-cuda-cupti-cu12==12.2.142 nvidia-cuda-nvcc-cu12==12.2.140 nvidia-cuda-nvrtc-cu12==12.2.140 nvidia-cuda-runtime-cu12==12.2.140 \
    nvidia-cudnn-cu12==8.9.4.25 nvidia-cufft-cu12==11.0.8.103 nvidia-curand-cu12==10.3.3.141 nvidia-cusolver-cu12==11.5.2.141 \
    nvidia-cusparse-cu12==12.1.2.141 nvidia-nccl-cu12==2.16.5 nvidia-nvjitlink-cu12==12.2.140
fi

# The package without its install script, which would download another library. --no-save leaves the project's manifest and lock as they are.
folder=$project/node_modules/$package
version() { node -p "require('$folder/package.json').version" 2>/dev/null || true; }
if [ "$(version)" != "$tfjs" ]; then
  (cd "$project" && npm install --silent --no-save --ignore-scripts --no-audit --no-fund --legacy-peer-deps "$package@$tfjs" >/dev/null)
fi
[ "$(version)" = "$tfjs" ] || refuse "$package $tfjs is not in $project/node_modules: is another version installed?"

# Node-API has one interface for all versions of Node, so that one addon serves them all.
addon=$home/tfjs_binding-$tfjs.node
if [ ! -f "$addon" ]; then
  (cd "$work" && npm pack --silent "node-api-headers@$headers" >/dev/null && tar -xzf node-api-headers-*.tgz)
  g++ -std=c++17 -O2 -fPIC -shared -DNAPI_VERSION=8 -I "$work/package/include" -I "$home/tensorflow/include" -I "$folder" \
    "$folder/binding/tfjs_backend.cc" "$folder/binding/tfjs_binding.cc" -o "$work/addon.node" \
    -L "$home/tensorflow" -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 -Wl,-rpath,"$home/tensorflow"
  mv "$work/addon.node" "$addon"
fi
mkdir -p "$folder/lib/napi-v8"
cp "$addon" "$folder/lib/napi-v8/.tfjs_binding.node" && mv "$folder/lib/napi-v8/.tfjs_binding.node" "$folder/lib/napi-v8/tfjs_binding.node"

# That it computes. What Node 23 took away and the package calls is given back here as by @spft/backends.
cd "$project" && TF_CPP_MIN_LOG_LEVEL=2 node -e "
  const util = require('node:util');
  util.isNullOrUndefined ??= (value) => value == null;
  util.isArray ??= Array.isArray;
  const tf = require('$package');
  const [sum] = tf.matMul([[1, 2]], [[3], [4]]).dataSync();
  if (tf.getBackend() !== 'tensorflow' || sum !== 11) throw new Error('it does not compute: ' + tf.getBackend() + ' gives ' + sum);
  console.log('$package $tfjs on TensorFlow ' + tf.backend().binding.TF_Version + ' computes, on Node ' + process.versions.node);
"
