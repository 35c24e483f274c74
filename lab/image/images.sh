#!/usr/bin/env bash
# The folder trees of the container images that need more than one program: installer, kubelet, kube-proxy.
# WORK: holds debs/, bin/, vmlinuz and initramfs.img; RECIPE: this folder. Each tree lands in WORK/trees/NAME.
set -euo pipefail
: "${WORK:?}" "${RECIPE:?}"

trees="$WORK/trees"
rm -rf "$trees"
base() {
  mkdir -p "$1"/usr/{bin,lib,lib64,local/bin} "$1"/{dev,etc,proc,run,sys,tmp,var}
  for link in bin lib lib64; do ln -s "usr/$link" "$1/$link"; done
  ln -s usr/bin "$1/sbin"
  ln -s bin "$1/usr/sbin"
  printf 'root:x:0:0:root:/root:/sbin/nologin\n' > "$1/etc/passwd"
  printf 'root:x:0:\n' > "$1/etc/group"
  chmod 1777 "$1/tmp"
}
unpack() {
  tree=$1
  shift
  for package in "$@"; do
    dpkg-deb --fsys-tarfile "$WORK"/debs/"${package}"_*.deb | tar -x --no-same-owner --keep-directory-symlink -C "$tree" \
      --exclude ./usr/share/doc --exclude ./usr/share/man --exclude ./usr/share/locale --exclude ./usr/share/lintian \
      --exclude ./usr/share/bash-completion --exclude ./var
  done
}
tables() { for name in iptables ip6tables; do for verb in "" -save -restore; do ln -sf xtables-nft-multi "$1/usr/bin/$name$verb"; done; done; }
nft="iptables nftables libc6 libgcc-s1 libxtables12 libip4tc2 libip6tc2 libmnl0 libnftnl11 libnetfilter-conntrack3 libnfnetlink0 libnftables1 libjansson4 libgmp10 libedit2 libbsd0 libmd0 libtinfo6"

installer="$trees/installer"
base "$installer"
unpack "$installer" libc6 libgcc-s1 dosfstools xfsprogs libinih1 liburcu8 libblkid1 libuuid1 libedit2 libbsd0 libmd0 libtinfo6 \
  libselinux1 libpcre2-8-0 libdevmapper1.02.1 libudev1 libzstd1 liblzma5 libefiboot1 libefivar1 libfuse2 libfreetype6 \
  libpng16-16 libbrotli1 zlib1g grub-common grub2-common grub-pc-bin busybox-static gettext-base
for name in sh cat sed grep uname mkdir cp rm ls dd; do ln -sf busybox "$installer/usr/bin/$name"; done
install -m755 "$WORK/bin/installer" "$installer/usr/bin/installer"
mkdir -p "$installer"/{boot/EFI,usr/install/amd64,usr/share/xfsprogs/mkfs}
cp "$RECIPE/mkfs-xfs.conf" "$installer/usr/share/xfsprogs/mkfs/lts_6.12.conf"
cp "$WORK/vmlinuz" "$installer/usr/install/amd64/vmlinuz"
cp "$WORK/initramfs.img" "$installer/usr/install/amd64/initramfs.xz" # the installer asks for this name; the kernel reads any format
rm -rf "$installer"/etc/{grub.d,default} "$installer"/usr/lib/x86_64-linux-gnu/gconv "$installer"/usr/bin/{xfs_scrub*,grub-*-legacy,grub-mkrescue} \
  "$installer"/usr/sbin/xfs_{db,repair} "$installer"/usr/share/{grub,xml,info,gettext}

kubelet="$trees/kubelet"
base "$kubelet"
# shellcheck disable=SC2086 # a list of names
unpack "$kubelet" $nft mount util-linux busybox-static libmount1 libblkid1 libuuid1 libselinux1 libpcre2-8-0 libsmartcols1 libcap2 libudev1 \
  libsystemd0 libcrypt1
rm -rf "$kubelet"/usr/lib/x86_64-linux-gnu/gconv "$kubelet"/usr/bin/{perl*,dpkg*} "$kubelet"/usr/share/{perl*,info}
tables "$kubelet"
for name in sh cat; do ln -sf busybox "$kubelet/usr/bin/$name"; done
mkdir -p "$kubelet"/{etc/kubernetes,usr/libexec/kubernetes,var/lib/kubelet}
touch "$kubelet"/etc/{machine-id,nfsmount.conf,os-release}
ln -s /run "$kubelet/var/run"
install -m755 "$WORK/bin/kubelet" "$kubelet/usr/local/bin/kubelet"

proxy="$trees/kube-proxy"
base "$proxy"
# shellcheck disable=SC2086 # a list of names
unpack "$proxy" $nft
rm -rf "$proxy"/usr/lib/x86_64-linux-gnu/gconv
tables "$proxy"
install -m755 "$WORK/bin/kube-proxy" "$proxy/usr/local/bin/kube-proxy"
