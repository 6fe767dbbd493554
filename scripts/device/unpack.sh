# On the GPU machine, in the repository's root: . scripts/device/unpack.sh
mkdir -p /tmp/spft/bin
[ -x /tmp/spft/bin/node ] || { xz -dc .device/node.xz > /tmp/spft/bin/node && chmod +x /tmp/spft/bin/node; }
export PATH=/tmp/spft/bin:$PATH
[ -d node_modules/koffi ] || tar -xJf .device/modules.tar.xz
mkdir -p node_modules/@spft
for package in packages/*/; do ln -sfn "../../$package" "node_modules/@spft/$(basename "$package")"; done
