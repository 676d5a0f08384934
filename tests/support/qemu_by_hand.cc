// SPDX-License-Identifier: Apache-2.0
#include "tests/support/qemu_by_hand.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/process.h"
#include "vm/scratch_disk.h"

namespace tare::test {
namespace {

using namespace std::chrono_literals;

std::string drive(const char* id, const vm::Disk& disk) {
  return "file=" + disk.file.string() + ",format=raw,if=none,cache=" + disk.cache + ",id=" + id + (disk.read_only ? ",readonly=on" : "");
}

std::vector<std::string> arguments_of(const vm::VmPlan& plan) {
  return {plan.emulator.string(),
          "-machine",
          "microvm,usb=off,acpi=on,accel=" + std::string(name(plan.accelerator)),
          "-m",
          std::to_string(plan.memory.count >> 20),
          "-smp",
          std::to_string(plan.vcpus),
          "-nodefaults",
          "-no-user-config",
          "-display",
          "none",
          "-no-reboot",
          "-sandbox",
          "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
          "-kernel",
          plan.kernel.string(),
          "-initrd",
          plan.initramfs.string(),
          "-append",
          vm::command_line(plan),
          "-device",
          "virtio-serial-device",
          "-chardev",
          "socket,id=c,server=on,wait=off,path=" + plan.channel.string(),
          "-device",
          "virtserialport,chardev=c,name=tare.0,nr=1",
          "-drive",
          drive("a", plan.image),
          "-device",
          "virtio-blk-device,drive=a",
          "-drive",
          drive("b", plan.scratch),
          "-device",
          "virtio-blk-device,drive=b",
          "-serial",
          "file:" + plan.console.string()};
}

/// What the host's end of the channel has learnt.
class Talk {
 public:
  explicit Talk(const vm::VmPlan& plan) : plan_(plan) {}

  void connect(Child& qemu) {
    const vm::Channel::Callbacks callbacks{[this](const guest::Frame& frame, Instant arrived) { on_frame(frame, arrived); },
                                           [this](const std::string&) { on_end(); }};
    for (const Deadline deadline = Deadline::in(10s); !channel_;) {
      try {
        channel_ = std::make_unique<vm::Channel>(plan_.channel.string(), callbacks);
      } catch (const Error&) {
        if (deadline.passed() || qemu.wait(Deadline::in(1ms))) throw;
      }
    }
    channel_->listen();
  }
  guest::Hello hello() {
    await([&] { return hello_.has_value(); });
    return *hello_;
  }
  vm::ClockMap clock() {
    for (int i = 1; i <= 5; ++i) exchange(i);
    return clock_;
  }

 private:
  void on_frame(const guest::Frame& frame, Instant arrived) {
    const std::lock_guard lock(mutex_);
    if (frame.type == guest::Type::hello) hello_ = guest::decode<guest::Hello>(frame.payload);
    if (frame.type == guest::Type::pong) clock_.add(sent_, guest::decode<guest::Pong>(frame.payload).value().at, arrived);
    changed_.notify_all();
  }
  void on_end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  template <class Ready>
  void await(Ready ready) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, 30s, [&] { return ended_ || ready(); }) || ended_) {
      throw Error(Code::failed, "QEMU by hand did not reach its init: " + try_read_file(plan_.console).value_or("no console"));
    }
  }
  void exchange(int number) {
    {
      const std::lock_guard lock(mutex_);
      sent_ = Instant::now();
    }
    guest::Ping ping;
    ping.id = static_cast<std::uint64_t>(number);
    channel_->send(ping);
    await([&] { return clock_.exchanges() >= number; });
  }

  const vm::VmPlan& plan_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<guest::Hello> hello_;
  vm::ClockMap clock_;
  Instant sent_;
  bool ended_ = false;
  std::unique_ptr<vm::Channel> channel_;  // goes first: its thread calls us
};

}  // namespace

QemuByHand::QemuByHand(Paths paths, vm::VmPlan plan, std::vector<std::string> more)
    : paths_(std::move(paths)), plan_(std::move(plan)), more_(std::move(more)) {}

QemuByHand::Boot QemuByHand::boot(const std::function<void()>& meanwhile) const {
  const TempDir directory(paths_.state);
  vm::VmPlan plan = plan_;
  plan.scratch.file = directory.path() / "disk.img";
  plan.channel = directory.path() / "channel";
  plan.console = directory.path() / "console";
  Boot boot;
  boot.requested = Instant::now();
  vm::copy_sparse(vm::scratch_template(paths_), plan.scratch.file);
  Child::Options options;
  options.argv = arguments_of(plan);
  options.argv.insert(options.argv.end(), more_.begin(), more_.end());
  Child qemu = Child::spawn(options);
  Talk talk(plan);
  talk.connect(qemu);
  boot.hello = talk.hello();
  boot.clock = talk.clock();
  if (meanwhile) meanwhile();
  return boot;
}

}  // namespace tare::test
