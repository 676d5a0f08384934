// SPDX-License-Identifier: Apache-2.0
#include "container/devices.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/error.h"

namespace tare::container {
namespace {

int bpf(int command, bpf_attr& attributes) { return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes)); }

std::string number_or_star(int number) { return number < 0 ? "*" : std::to_string(number); }

std::string text_of(const DeviceRule& rule) {
  return std::string(1, rule.type) + " " + number_or_star(rule.major) + ":" + number_or_star(rule.minor) + " " + rule.access;
}

constexpr bpf_insn instruction(int code, int to, int from, int offset, int value) {
  return {static_cast<__u8>(code), static_cast<__u8>(to & 0xf), static_cast<__u8>(from & 0xf), static_cast<__s16>(offset), value};
}

// What the program keeps in registers; r1 is scratch once the context has been read.
constexpr int kAccess = 2;
constexpr int kType = 3;
constexpr int kMajor = 4;
constexpr int kMinor = 5;

constexpr bpf_insn load_word(int to, int offset) { return instruction(BPF_LDX | BPF_W | BPF_MEM, to, 1, offset, 0); }
constexpr bpf_insn compute(int operation, int to, int value) { return instruction(BPF_ALU | operation | BPF_K, to, 0, 0, value); }
constexpr bpf_insn copy(int to, int from) { return instruction(BPF_ALU | BPF_MOV | BPF_X, to, from, 0, 0); }

void give_back(std::vector<bpf_insn>& program, int value) {
  program.push_back(compute(BPF_MOV, 0, value));
  program.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

int access_bits(const std::string& access) {
  int bits = 0;
  for (const char letter : access) {
    bits |= letter == 'r' ? BPF_DEVCG_ACC_READ : letter == 'w' ? BPF_DEVCG_ACC_WRITE : letter == 'm' ? BPF_DEVCG_ACC_MKNOD : 0;
  }
  return bits;
}

void add_rule(std::vector<bpf_insn>& program, const DeviceRule& rule) {
  std::vector<bpf_insn> test;
  const auto unless = [&](int from, int value) { test.push_back(instruction(BPF_JMP | BPF_JNE | BPF_K, from, 0, 0, value)); };
  unless(kType, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
  if (rule.major >= 0) unless(kMajor, rule.major);
  if (rule.minor >= 0) unless(kMinor, rule.minor);
  test.push_back(copy(1, kAccess));
  test.push_back(compute(BPF_AND, 1, ~access_bits(rule.access)));
  unless(1, 0);  // something is asked for that the rule does not give
  give_back(test, 1);
  // Every test that fails leads behind the rule.
  for (std::size_t i = 0; i < test.size(); ++i) {
    if (test[i].code == (BPF_JMP | BPF_JNE | BPF_K)) test[i].off = static_cast<__s16>(test.size() - i - 1);
  }
  program.insert(program.end(), test.begin(), test.end());
}

}  // namespace

const DeviceList& default_devices() {
  static const DeviceList kList = {{'c', -1, -1, "m"},                        // a node alone opens nothing
                                   {'b', -1, -1, "m"},   {'c', 1, 3, "rwm"},  // null
                                   {'c', 1, 5, "rwm"},                        // zero
                                   {'c', 1, 7, "rwm"},                        // full
                                   {'c', 1, 8, "rwm"},                        // random
                                   {'c', 1, 9, "rwm"},                        // urandom
                                   {'c', 5, 0, "rwm"},                        // tty
                                   {'c', 5, 1, "rwm"},                        // console
                                   {'c', 5, 2, "rwm"},                        // ptmx
                                   {'c', 136, -1, "rwm"}};                    // pts
  return kList;
}

DeviceList devices_with(const std::vector<DeviceNode>& given) {
  DeviceList list = default_devices();
  for (const DeviceNode& node : given) {
    const DeviceRule rule{S_ISBLK(node.mode) ? 'b' : 'c', static_cast<int>(node.major), static_cast<int>(node.minor), "rwm"};
    if (std::find(list.begin(), list.end(), rule) == list.end()) list.push_back(rule);
  }
  return list;
}

std::vector<CgroupWrite> device_writes(const DeviceList& devices) {
  std::string allowed;
  for (const DeviceRule& rule : devices) allowed += (allowed.empty() ? "" : "\n") + text_of(rule);
  std::vector<CgroupWrite> writes = {{"devices", "devices", "devices.deny", "a"}};
  if (!allowed.empty()) writes.push_back({"devices", "devices", "devices.allow", allowed});
  return writes;
}

std::vector<bpf_insn> device_program(const DeviceList& devices) {
  // struct bpf_cgroup_dev_ctx: access in the upper and type in the lower half of the first word, then major and minor.
  std::vector<bpf_insn> program = {load_word(kAccess, 0),         copy(kType, kAccess), compute(BPF_AND, kType, 0xffff),
                                   compute(BPF_RSH, kAccess, 16), load_word(kMajor, 4), load_word(kMinor, 8)};
  for (const DeviceRule& rule : devices) add_rule(program, rule);
  give_back(program, 0);
  return program;
}

Fd load_device_program(const std::vector<bpf_insn>& instructions) {
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insns = reinterpret_cast<std::uintptr_t>(instructions.data());
  attributes.insn_cnt = static_cast<__u32>(instructions.size());
  attributes.license = reinterpret_cast<std::uintptr_t>("Apache-2.0");
  Fd program(bpf(BPF_PROG_LOAD, attributes));
  if (!program) throw_errno("load a program that guards device files", "the kernel needs CONFIG_CGROUP_BPF, and tare CAP_SYS_ADMIN");
  return program;
}

void attach_device_program(int program, int group_directory) {
  bpf_attr attributes{};
  attributes.target_fd = static_cast<__u32>(group_directory);
  attributes.attach_bpf_fd = static_cast<__u32>(program);
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;  // beside those of the groups above, all of which must agree
  if (bpf(BPF_PROG_ATTACH, attributes) < 0) throw_errno("guard device files by control group");
}

Fd hold_device_check(int group_directory) {
  std::vector<bpf_insn> allow;
  give_back(allow, 1);
  const Fd program = load_device_program(allow);
  bpf_attr attributes{};
  attributes.link_create.prog_fd = static_cast<__u32>(program.get());
  attributes.link_create.target_fd = static_cast<__u32>(group_directory);
  attributes.link_create.attach_type = BPF_CGROUP_DEVICE;
  return Fd(bpf(BPF_LINK_CREATE, attributes));
}

}  // namespace tare::container
