#!/bin/sh
# Builds the emulator into a folder, for SPFT_CUDA_PATH: sh build.sh FOLDER. Does nothing where the folder's one is newer than the sources.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh FOLDER}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here"

if [ -e "$out/built" ] && [ -z "$(find . -type f ! -name '*.ts' ! -name '*.md' -newer "$out/built")" ]; then
  exit 0
fi

work=$(mktemp -d "$out/.build-XXXXXX")
trap 'rm -rf "$work"' EXIT
flags='-std=c++17 -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -fno-gnu-unique -fno-stack-protector -U_FORTIFY_SOURCE -Wall -Wextra -Wno-psabi'

compile() {
  "${CXX:-g++}" $flags "$1" -c "$2.cpp" -o "$work/$2.o"
}
link() {
  name=$1
  shift
  "${CXX:-g++}" -shared "-Wl,-soname,$name" -o "$work/$name" "$@"
}

driver='device memory copies queue stream graph module launch barrier mbarrier warp proxy async_copy bulk_copy'
jobs=''
compile -O1 compiler & jobs="$jobs $!"
compile -O3 blas & jobs="$jobs $!"
compile -O2 nccl & jobs="$jobs $!"
compile -O3 warpgroup & jobs="$jobs $!"
for part in $driver; do
  compile -O2 "$part" & jobs="$jobs $!"
done
for job in $jobs; do
  wait "$job"
done

cd "$work"
link libnvrtc.so compiler.o -ldl
link libcuda.so.1 $(for part in $driver warpgroup; do echo "$part.o"; done) -ldl -lpthread
link libcublasLt.so blas.o libcuda.so.1 '-Wl,-rpath,$ORIGIN'
link libnccl.so.2 nccl.o libcuda.so.1 -lrt -lpthread '-Wl,-rpath,$ORIGIN'
# Beside, then renamed: another process may be loading the old ones.
cp "$here/interface.h" "$here/emulated.cuh" .
for file in interface.h emulated.cuh libcuda.so.1 libnvrtc.so libcublasLt.so libnccl.so.2; do
  mv "$file" "$out/$file"
done
touch "$out/built"
