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
# What an emulated machine is told: how late its timers may be, and how long one process runs before another, in ns.
# shellcheck disable=SC2013 # words
for word in $($b cat /proc/cmdline); do
  case $word in
    lab.timerslack=*) echo "${word#*=}" > /proc/$$/timerslack_ns ;;
    lab.slice=*)
      $b mkdir -p /debug
      $b mount -t debugfs debugfs /debug
      echo "${word#*=}" > /debug/sched/base_slice_ns
      $b umount /debug
      $b rmdir /debug
      ;;
  esac
done
$b umount /proc
exec /talos-init
