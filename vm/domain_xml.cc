// SPDX-License-Identifier: Apache-2.0
#include "vm/plan.h"
#include "vm/xml.h"

namespace tare::vm {
namespace {

// microvm has no PCI: every device gets its address on the virtio-mmio bus. q35 leaves addresses to libvirt.
void address(Xml& xml, const VmPlan& plan) {
  if (plan.machine == Machine::microvm) xml.element("address", {{"type", "virtio-mmio"}});
}

void disk(Xml& xml, const VmPlan& plan, const Disk& disk, std::string_view target) {
  xml.begin("disk", {{"type", "file"}, {"device", "disk"}});
  xml.element("driver", {{"name", "qemu"}, {"type", "raw"}, {"cache", disk.cache}});
  xml.element("source", {{"file", disk.file.string()}});
  xml.element("target", {{"dev", target}, {"bus", "virtio"}});
  if (disk.read_only) xml.element("readonly");
  address(xml, plan);
  xml.end();
}

void link(Xml& xml, const VmPlan& plan, const Interface& interface) {
  xml.begin("interface", {{"type", "ethernet"}});
  xml.element("mac", {{"address", interface.mac}});
  xml.element("target", {{"dev", interface.tap}, {"managed", "no"}});
  xml.element("model", {{"type", "virtio"}});
  address(xml, plan);
  xml.end();
}

void devices(Xml& xml, const VmPlan& plan) {
  xml.begin("devices");
  xml.element("emulator", {}, plan.emulator.string());
  xml.element("controller", {{"type", "usb"}, {"model", "none"}});
  xml.begin("controller", {{"type", "virtio-serial"}, {"index", "0"}});
  address(xml, plan);
  xml.end();
  disk(xml, plan, plan.image, "vda");
  disk(xml, plan, plan.scratch, "vdb");
  if (plan.interface) link(xml, plan, *plan.interface);
  xml.begin("channel", {{"type", "unix"}});
  xml.element("source", {{"mode", "bind"}, {"path", plan.channel.string()}});
  xml.element("target", {{"type", "virtio"}, {"name", "tare.0"}});
  xml.element("address", {{"type", "virtio-serial"}, {"controller", "0"}, {"bus", "0"}, {"port", "1"}});
  xml.end();
  xml.begin("serial", {{"type", "file"}});
  xml.element("source", {{"path", plan.console.string()}});
  xml.element("target", {{"port", "0"}});
  xml.end();
  xml.element("memballoon", {{"model", "none"}});
  xml.end();
}

}  // namespace

std::string domain_xml(const VmPlan& plan) {
  Xml xml;
  xml.begin("domain", {{"type", plan.accelerator == Accelerator::kvm ? "kvm" : "qemu"},
                       {"xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0"}});
  xml.element("name", {}, plan.name);
  xml.element("memory", {{"unit", "MiB"}}, std::to_string(plan.memory.count >> 20));
  xml.element("vcpu", {}, std::to_string(plan.vcpus));
  xml.begin("os");
  xml.element("type", {{"arch", "x86_64"}, {"machine", name(plan.machine)}}, "hvm");
  xml.element("kernel", {}, plan.kernel.string());
  xml.element("initrd", {}, plan.initramfs.string());
  xml.element("cmdline", {}, command_line(plan));
  xml.end();
  xml.begin("features").element("acpi").end();  // the guest finds its virtio-mmio devices in ACPI's tables
  if (plan.accelerator == Accelerator::kvm) {
    // The host's own CPU, but for an MSR that nested and software hypervisors refuse to set.
    xml.begin("cpu", {{"mode", "host-passthrough"}, {"migratable", "off"}});
    xml.element("feature", {{"policy", "disable"}, {"name", "arch-capabilities"}});
    xml.end();
  }
  xml.element("on_poweroff", {}, "destroy").element("on_reboot", {}, "destroy").element("on_crash", {}, "destroy");
  devices(xml, plan);
  if (!plan.environment.empty()) {
    xml.begin("qemu:commandline");
    for (const auto& [key, value] : plan.environment) xml.element("qemu:env", {{"name", key}, {"value", value}});
    xml.end();
  }
  // Without it libvirt asks QEMU for each of 400 CPU properties at every start, a third of a second in all.
  xml.begin("qemu:capabilities").element("qemu:del", {{"capability", "cpu-unavailable-features"}}).end();
  xml.end();
  return xml.text();
}

}  // namespace tare::vm
