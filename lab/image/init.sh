#!/bin/busybox sh
# Early init: loads what Talos' own kernel has built in, then hands PID 1 to Talos' init.
set -u
b=/bin/busybox
$b mkdir -p /proc /sys
$b mount -t proc proc /proc
while read -r module parameters; do
  # shellcheck disable=SC2086 # parameters are words
  $b insmod "/mods/$module.ko" $parameters 2>/dev/null
done < /mods.list
$b rm -rf /mods /mods.list
# kubelet asks for it with --protect-kernel-defaults; Talos' kernel has it built in
echo 1 > /proc/sys/kernel/panic_on_oops
$b umount /proc
exec /talos-init
