// SPDX-License-Identifier: Apache-2.0
#include "vm/jail.h"
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
  const std::string iothread = disk.iothread != 0 ? std::to_string(disk.iothread) : "";
  xml.element("driver", {{"name", "qemu"}, {"type", "raw"}, {"cache", disk.cache}, {"io", disk.io}, {"iothread", iothread}});
  xml.element("source", {{"file", disk.file.string()}});
  xml.element("target", {{"dev", target}, {"bus", "virtio"}});
  if (disk.read_only) xml.element("readonly");
  address(xml, plan);
  xml.end();
}

void share(Xml& xml, const VmPlan& plan, std::size_t number) {
  xml.begin("filesystem", {{"type", "mount"}, {"accessmode", "passthrough"}});
  xml.element("driver", {{"type", "virtiofs"}});
  xml.element("source", {{"socket", plan.shares[number].string()}});
  xml.element("target", {{"dir", "tare" + std::to_string(number)}});
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
  for (std::size_t number = 0; number < plan.shares.size(); ++number) share(xml, plan, number);
  if (plan.interface) link(xml, plan, *plan.interface);
  xml.begin("channel", {{"type", "unix"}});
  xml.element("source", {{"mode", "bind"}, {"path", plan.channel.string()}});
  xml.element("target", {{"type", "virtio"}, {"name", "tare.0"}});
  xml.element("address", {{"type", "virtio-serial"}, {"controller", "0"}, {"bus", "0"}, {"port", "1"}});
  xml.end();
  if (plan.serial) {
    xml.begin("serial", {{"type", "file"}});
    xml.element("source", {{"path", plan.console.string()}});
    xml.element("target", {{"port", "0"}});
    xml.end();
  }
  xml.element("memballoon", {{"model", "none"}});
  xml.end();
}

void memory_backing(Xml& xml, const VmPlan& plan) {
  xml.begin("memoryBacking");
  if (plan.hugepages) xml.element("hugepages");
  // Of the kernel and not of a mounted hugetlbfs, which a confined QEMU does not have.
  xml.element("source", {{"type", "memfd"}});
  // virtiofsd answers in the guest's memory.
  if (!plan.shares.empty()) xml.element("access", {{"mode", "shared"}});
  xml.end();
}

void argument(Xml& xml, std::string_view value) { xml.element("qemu:arg", {{"value", value}}); }

// libvirt has no word for a machine that shares its memory with a file and later leaves it out of its state.
void memory_file(Xml& xml, const VmPlan& plan, const MemoryFile& memory) {
  std::string path = memory.file.string();
  for (std::size_t at = 0; (at = path.find(',', at)) != std::string::npos; at += 2) path.insert(at, ",");  // QEMU's own way to write one
  argument(xml, "-object");
  argument(xml, "memory-backend-file,id=tare.memory,size=" + std::to_string(plan.memory.count >> 20) + "M,mem-path=" + path +
                    (memory.clone ? ",share=off" : ",share=on"));
  argument(xml, "-machine");
  argument(xml, "memory-backend=tare.memory");
  if (!memory.clone) return;
  argument(xml, "-incoming");
  argument(xml, "defer");
}

// Which of the host's CPUs and NUMA nodes it runs on.
void places(Xml& xml, const VmPlan& plan) {
  if (!plan.vcpu_pins.empty()) {
    xml.begin("cputune");
    for (std::size_t i = 0; i < plan.vcpu_pins.size(); ++i) {
      xml.element("vcpupin", {{"vcpu", std::to_string(i)}, {"cpuset", plan.vcpu_pins[i]}});
    }
    if (!plan.helper_cpus.empty()) {
      xml.element("emulatorpin", {{"cpuset", plan.helper_cpus}});
      for (unsigned i = 1; i <= plan.iothreads; ++i) {
        xml.element("iothreadpin", {{"iothread", std::to_string(i)}, {"cpuset", plan.helper_cpus}});
      }
    }
    xml.end();
  }
  if (plan.memory_node) {
    xml.begin("numatune").element("memory", {{"mode", "strict"}, {"nodeset", std::to_string(*plan.memory_node)}}).end();
  }
}

void processor(Xml& xml, const VmPlan& plan) {
  if (plan.accelerator == Accelerator::kvm) {
    // The host's own CPU, but for an MSR that nested and software hypervisors refuse to set.
    // A machine whose state goes to a file may have only what QEMU can save.
    xml.begin("cpu", {{"mode", "host-passthrough"}, {"migratable", plan.memory_file ? "on" : "off"}});
    xml.element("feature", {{"policy", "disable"}, {"name", "arch-capabilities"}});
    xml.end();
  } else if (plan.every_cpu_flag) {
    xml.element("cpu", {{"mode", "maximum"}});
  }
}

void features(Xml& xml, const VmPlan& plan) {
  xml.begin("features").element("acpi");  // the guest finds its virtio-mmio devices in ACPI's tables
  if (plan.translation_buffer) {
    xml.begin("tcg").element("tb-cache", {{"unit", "MiB"}}, std::to_string(plan.translation_buffer->count >> 20)).end();
  }
  xml.end();
}

}  // namespace

std::string domain_xml(const VmPlan& plan) {
  Xml xml;
  xml.begin("domain", {{"type", plan.accelerator == Accelerator::kvm ? "kvm" : "qemu"},
                       {"xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0"}});
  xml.element("name", {}, plan.name);
  xml.element("memory", {{"unit", "MiB"}}, std::to_string(plan.memory.count >> 20));
  if (plan.hugepages || !plan.shares.empty()) memory_backing(xml, plan);
  xml.element("vcpu", {{"cpuset", plan.cpus}}, std::to_string(plan.vcpus));
  if (plan.iothreads != 0) xml.element("iothreads", {}, std::to_string(plan.iothreads));
  places(xml, plan);
  xml.begin("os");
  xml.element("type", {{"arch", "x86_64"}, {"machine", name(plan.machine)}}, "hvm");
  xml.element("kernel", {}, plan.kernel.string());
  xml.element("initrd", {}, plan.initramfs.string());
  xml.element("cmdline", {}, command_line(plan));
  xml.end();
  features(xml, plan);
  processor(xml, plan);
  xml.element("on_poweroff", {}, "destroy").element("on_reboot", {}, "destroy").element("on_crash", {}, "destroy");
  devices(xml, plan);
  // virtiofs has no form from before virtio 1.0, which is what QEMU gives a device on the mmio bus unless told otherwise.
  const bool modern = plan.machine == Machine::microvm && !plan.shares.empty();
  if (!plan.environment.empty() || plan.user || plan.memory_file || modern) {
    xml.begin("qemu:commandline");
    if (plan.memory_file) memory_file(xml, plan, *plan.memory_file);
    if (modern) argument(xml, "-global"), argument(xml, "virtio-mmio.force-legacy=false");
    for (const auto& [key, value] : plan.environment) xml.element("qemu:env", {{"name", key}, {"value", value}});
    if (plan.user) xml.element("qemu:env", {{"name", kJail}, {"value", jail_text(plan)}});
    xml.end();
  }
  // Without it libvirt asks QEMU for each of 400 CPU properties at every start, a third of a second in all.
  xml.begin("qemu:capabilities").element("qemu:del", {{"capability", "cpu-unavailable-features"}}).end();
  xml.end();
  return xml.text();
}

}  // namespace tare::vm
