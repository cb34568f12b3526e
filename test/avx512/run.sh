#!/usr/bin/env bash
# Runs the tests of the AVX-512 kernels of pkg/vector where there is no AVX-512: in Bochs, which emulates a whole PC,
# on a Linux kernel with nothing but the tests. It takes two minutes of a processor. It needs Go and Debian 12 or
# later; what it lacks it installs with apt, but for the kernel, which it only unpacks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

sudo=()
((EUID == 0)) || sudo=(sudo -n)

packages=(bochs bochs-term cpio isolinux syslinux-common xorriso)
if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
fi

# The name of the package with the kernel is what the package of the newest kernel depends on.
image=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
(cd "$scratch" && apt-get download -qq "$image" 2>/dev/null && dpkg-deb -x ./*.deb kernel)

mkdir -p "$scratch/root" "$scratch/disc/isolinux"
export CGO_ENABLED=0 GOOS=linux GOARCH=amd64
go test -c -ldflags='-s -w' -o "$scratch/root/vector.test" ./pkg/vector
go build -ldflags='-s -w' -o "$scratch/root/init" ./test/avx512/init
(cd "$scratch/root" && printf 'init\nvector.test\n' | cpio --quiet -o -H newc | gzip -1) >"$scratch/disc/initrd.gz"

cp "$scratch"/kernel/boot/vmlinuz-* "$scratch/disc/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$scratch/disc/isolinux/"
# Without xsavec and pku, since the emulator states another size of the registers than Linux computes; without the
# others, since some of them crash this kernel in it.
cat >"$scratch/disc/isolinux/isolinux.cfg" <<'END'
DEFAULT tests
LABEL tests
  KERNEL /vmlinuz
  INITRD /initrd.gz
  APPEND console=ttyS0 quiet mitigations=off nokaslr clearcpuid=pku,xsaves,xsavec,xsaveopt,fsgsbase,pcid,invpcid,smap,smep,umip,fsrm,erms
END
xorrisofs -quiet -o "$scratch/disc.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
  -boot-load-size 4 -boot-info-table "$scratch/disc" 2>/dev/null

cat >"$scratch/bochsrc" <<END
display_library: rfb, options="timeout=0"
cpu: model=corei7_icelake_u, ips=50000000
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=$scratch/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$scratch/serial.txt
log: $scratch/bochs.log
END
# Debian builds Bochs with its debugger, which waits for a command.
echo continue >"$scratch/commands"
timeout 1800 bochs -q -f "$scratch/bochsrc" -rc "$scratch/commands" </dev/null >"$scratch/bochs.out" 2>&1 || true

tr -d '\r' <"$scratch/serial.txt" | grep -v '^=== RUN'
# Both levels must have been there to be tested.
grep -q 'PASS: TestDotI8/avx512vnni' "$scratch/serial.txt"
grep -q 'PASS: TestDotAndL2/avx512 ' "$scratch/serial.txt"
grep -q '^tests: all passed' "$scratch/serial.txt"
