#!/bin/sh
# Builds the emulator into a folder, for SPFT_CUDA_PATH: sh build.sh FOLDER. Files that are newer than the sources are left as they are.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh FOLDER}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/.build-XXXXXX")
trap 'rm -rf "$work"' EXIT

flags='-std=c++17 -O2 -shared -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -fno-gnu-unique -fno-stack-protector -U_FORTIFY_SOURCE -Wall -Wextra -Wno-psabi'

current() {
  [ -e "$out/$1" ] && [ -z "$(find "$here" -type f \( -name '*.cpp' -o -name '*.h*' -o -name '*.cuh' -o -name build.sh \) -newer "$out/$1")" ]
}

# Beside, then renamed: another process may be loading the old one.
link() {
  name=$1
  shift
  "${CXX:-g++}" $flags "-Wl,-soname,$name" -o "$work/$name" "$@"
}

if ! { current libcuda.so.1 && current libnvrtc.so && current libcublasLt.so; }; then
  cd "$here"
  cp interface.h emulated.cuh "$work/"
  link libnvrtc.so compiler.cpp -ldl &
  nvrtc=$!
  link libcuda.so.1 device.cpp memory.cpp copies.cpp stream.cpp module.cpp launch.cpp barrier.cpp warp.cpp async_copy.cpp -ldl -lpthread
  link libcublasLt.so -O3 blas.cpp "$work/libcuda.so.1" '-Wl,-rpath,$ORIGIN'
  wait $nvrtc
  mv "$work"/*.h "$work"/*.cuh "$work"/*.so* "$out/"
fi
