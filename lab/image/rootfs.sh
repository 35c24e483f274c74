#!/usr/bin/env bash
# The rootfs of the lab's Talos and the kernel and initramfs that boot it.
# WORK: holds debs/ and bin/; RECIPE: this folder; TALOS: Talos' module folder; CA: the lab's CA certificate.
set -euo pipefail
: "${WORK:?}" "${RECIPE:?}" "${TALOS:?}" "${CA:?}"

root="$WORK/root"
kernel="$WORK/kernel"
rm -rf "$root" "$kernel"
mkdir -p "$root"/usr/{bin,lib,lib64}
ln -s usr/bin "$root/bin"
ln -s usr/bin "$root/sbin"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"
ln -s bin "$root/usr/sbin"

# Debian's userland, without documents
for deb in "$WORK"/debs/*.deb; do
  only=()
  case "${deb##*/}" in
    linux-image-*) dpkg-deb -x "$deb" "$kernel"; continue ;;
    busybox-static_* | gettext-base_* | grub* | libbrotli1_* | libefi* | libfreetype6_* | libfuse2_* | libpng16-16_*) continue ;;
    mount_* | util-linux_*) only=(--wildcards ./bin/mount ./bin/umount ./sbin/blkid) ;;
  esac
  dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner --keep-directory-symlink -C "$root" \
    --exclude ./usr/share/doc --exclude ./usr/share/man --exclude ./usr/share/locale --exclude ./usr/share/bug \
    --exclude ./usr/share/bash-completion --exclude ./usr/share/lintian --exclude ./usr/share/initramfs-tools \
    --exclude ./usr/share/polkit-1 --exclude './lib/systemd/system*' --exclude ./etc/init.d \
    --exclude './etc/ca-certificates*' "${only[@]}" 2>/dev/null || [ "${#only[@]}" -gt 0 ]
done
for name in iptables ip6tables iptables-save iptables-restore ip6tables-save ip6tables-restore iptables-nft; do
  ln -sf xtables-nft-multi "$root/usr/bin/$name"
done
ln -sf udevadm "$root/usr/bin/systemd-udevd"
rm -rf "$root"/var "$root"/etc/{udev,cron*,logrotate.d,systemd,default} "$root"/usr/lib/x86_64-linux-gnu/gconv \
  "$root"/usr/lib/x86_64-linux-gnu/systemd/libsystemd-core* "$root"/usr/bin/xfs_scrub*

# the kernel's modules
rm -rf "$root"/usr/lib/modules "$root"/usr/lib/modprobe.d
mkdir -p "$root/usr/lib/modules"
cp -r "$kernel"/lib/modules/* "$root/usr/lib/modules/"
release=$(ls "$root/usr/lib/modules")
depmod -b "$root" "$release"

# Talos and its runtime
install -m755 "$WORK/bin/machined" "$root/usr/bin/init"
for name in poweroff shutdown dashboard; do ln -f "$root/usr/bin/init" "$root/usr/bin/$name"; done
install -m755 "$WORK"/bin/{containerd,containerd-shim-runc-v2,runc} "$root/usr/bin/"
mkdir -p "$root"/{.extra,boot/EFI,dev,home,mnt,opt/cni/bin,opt/containerd/bin,opt/containerd/lib,proc,root,run,sys,system,tmp,var} \
  "$root"/etc/{cni/net.d,containerd,cri/conf.d/hosts,iscsi,kubernetes/manifests,lvm,nvme,selinux/targeted/contexts/files,ssl/certs} \
  "$root"/usr/{etc,lib/firmware,lib/systemd/network,lib/udev/hwdb.d,lib/udev/rules.d,libexec/kubernetes,local/share} \
  "$root"/usr/local/lib/kubelet/credentialproviders "$root"/usr/share/{spdx,xfsprogs/mkfs,zoneinfo/Etc}
install -m755 "$WORK"/bin/cni/* "$root/opt/cni/bin/"
cp "$RECIPE/mkfs-xfs.conf" "$root/usr/share/xfsprogs/mkfs/lts_6.12.conf"
cp "$TALOS/hack/zoneinfo/Etc/UTC" "$root/usr/share/zoneinfo/Etc/UTC"
cp "$TALOS/hack/nfsmount.conf" "$root/etc/nfsmount.conf"
cp "$TALOS/hack/containerd.toml" "$root/etc/containerd/config.toml"
cp "$TALOS/hack/cri-containerd.toml" "$root/etc/cri/containerd.toml"
cp "$TALOS/hack/cri-plugin.part" "$root/etc/cri/conf.d/00-base.part"
cp "$TALOS/hack/udevd/99-default.link" "$root/usr/lib/systemd/network/"
cp "$TALOS/hack/udevd/90-selinux.rules" "$root/usr/lib/udev/rules.d/"
cp "$TALOS/hack/lvm.conf" "$root/etc/lvm/lvm.conf"
cp "$WORK/os-release" "$root/etc/os-release"
ln -sf /usr/share/zoneinfo/Etc/UTC "$root/etc/localtime"

# trust: Debian's certificate authorities and the lab's own
find "$root/usr/share/ca-certificates" -name '*.crt' -print0 | sort -z | xargs -0 cat "$CA" > "$root/etc/ssl/certs/ca-certificates.crt"
cp "$root/etc/ssl/certs/ca-certificates.crt" "$WORK/ca-bundle.crt"
rm -rf "$root/usr/share/ca-certificates" "$root/usr/local/share/ca-certificates"
ln -s ca-certificates.crt "$root/etc/ssl/certs/ca-certificates"
for link in etc/pki usr/share/ca-certificates usr/local/share/ca-certificates etc/ca-certificates; do
  ln -s /etc/ssl "$root/$link"
done

# what Talos' start mounts over, writes to or reads
rm -rf "$root/usr/lib/udev/hwdb.d" "$root/usr/etc/udev"
mkdir -p "$root/usr/lib/udev/hwdb.d"
ln -s ../lib/udev "$root/usr/etc/udev" # udevadm hwdb --update --root=/usr writes there
printf '{"spdxVersion":"SPDX-2.3","name":"Talos","packages":[]}' > "$root/usr/share/spdx/talos-amd64.spdx.json"
touch "$root"/etc/{extensions.yaml,hosts,machine-id,resolv.conf} "$root"/etc/nvme/{hostid,hostnqn} \
  "$root"/etc/iscsi/initiatorname.iscsi "$root"/etc/selinux/targeted/contexts/files/file_contexts \
  "$root"/etc/cri/conf.d/{cri.toml,01-registries.part,20-customization.part,base-spec.json}
printf 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n' > "$root/etc/passwd"
printf '%s\n' root:x:0: tty:x:5: disk:x:6: lp:x:7: kmem:x:15: dialout:x:20: cdrom:x:24: tape:x:26: audio:x:29: \
  video:x:44: kvm:x:103: render:x:106: input:x:104: sgx:x:105: nogroup:x:65534: > "$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' > "$root/etc/nsswitch.conf"
echo /usr/lib/x86_64-linux-gnu > "$root/etc/ld.so.conf"
ldconfig -r "$root"

# squashfs, then the initramfs around it
rm -f "$WORK/rootfs.sqsh"
mksquashfs "$root" "$WORK/rootfs.sqsh" -all-root -noappend -comp zstd -Xcompression-level 6 -mkfs-time 0 -all-time 0 -no-progress -quiet
early="$WORK/early"
rm -rf "$early"
mkdir -p "$early"/{bin,dev,mods}
mv "$WORK/rootfs.sqsh" "$early/rootfs.sqsh"
install -m755 "$WORK/bin/init" "$early/talos-init"
install -m755 "$RECIPE/init.sh" "$early/init"
dpkg-deb --fsys-tarfile "$WORK"/debs/busybox-static_*.deb | tar -x -C "$early" --no-same-owner ./bin/busybox
sed -e 's/#.*//' -e '/^\s*$/d' "$RECIPE/modules.txt" | while read -r module parameters; do
  modprobe -d "$root" -S "$release" --show-depends "$module" 2>/dev/null \
    | awk -v module="$module" -v parameters="$parameters" \
      '$1 == "insmod" {name = $2; sub(/.*\//, "", name); sub(/\.ko.*/, "", name); print $2, name, (name == module ? parameters : "")}' \
    || echo "kernel $release has no module $module" >&2
done | awk '!seen[$2]++' > "$WORK/modules.paths"
while read -r path name parameters; do
  case "$path" in
    *.xz) xz -dc "$path" > "$early/mods/$name.ko" ;;
    *) cp "$path" "$early/mods/$name.ko" ;;
  esac
  echo "$name $parameters" >> "$early/mods.list"
done < "$WORK/modules.paths"
(cd "$early" && find . -print0 | LC_ALL=C sort -z | cpio --null --quiet -H newc -o -R 0:0) | zstd -q -3 -T0 -f -o "$WORK/initramfs.img"
cp "$kernel"/boot/vmlinuz-* "$WORK/vmlinuz"
rm -rf "$early" "$root"
