#!/bin/busybox sh
# The whole userland of the tests' guest. The kernel command line says what it does: act=poweroff|reboot|panic|s3|none,
# delay=SECONDS before it does it.
b=/bin/busybox
$b mkdir -p /proc /sys /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in evdev button pvpanic pvpanic-mmio pvpanic-pci; do $b insmod /mod/$module.ko 2>/dev/null; done
echo "GUEST up" >/dev/console
act=none
delay=0
for word in $($b cat /proc/cmdline); do
    case $word in
    act=*) act=${word#act=} ;;
    delay=*) delay=${word#delay=} ;;
    esac
done
# An ACPI power button is a key press: power off when one comes.
( for event in /dev/input/event*; do ( $b head -c 24 $event >/dev/null && $b poweroff -f ) & done; wait ) &
$b sleep $delay
echo "GUEST $act" >/dev/console
case $act in
poweroff) $b poweroff -f ;;
reboot) $b reboot -f ;;
panic) echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger ;;
s3) echo mem >/sys/power/state ;;
esac
while true; do $b sleep 3600; done
