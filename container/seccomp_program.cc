// SPDX-License-Identifier: Apache-2.0
#include "container/seccomp_program.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <optional>

#include "container/capabilities.h"
#include "container/seccomp_flatten.h"
#include "core/error.h"
#include "core/files.h"

namespace tare::container {
namespace {

// Calls that Debian 12's libseccomp has not heard of. From number 403 on, all architectures use the same; below it, those of x86-64.
struct NewCall {
  std::string_view name;
  unsigned number;
};
constexpr NewCall kNewCalls[] = {
    {"uretprobe", 335},         {"statmount", 457},        {"listmount", 458},     {"lsm_get_self_attr", 459},
    {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},         {"setxattrat", 463},
    {"getxattrat", 464},        {"listxattrat", 465},      {"removexattrat", 466},
};
constexpr unsigned kFirstCommon = 403;

const NewCall* new_call(const std::string& name) {
  const auto* found = std::find_if(std::begin(kNewCalls), std::end(kNewCalls), [&](const NewCall& call) { return call.name == name; });
  return found == std::end(kNewCalls) ? nullptr : found;
}

struct FreeContext {
  void operator()(void* context) const noexcept { seccomp_release(context); }
};
using Context = std::unique_ptr<void, FreeContext>;

void check(int result, const std::string& what) {
  if (result < 0) throw Error(Code::internal, errno_text("seccomp filter: " + what, -result));
}

bool holds(const SeccompRule& rule, std::uint64_t capabilities, KernelVersion kernel) {
  if (rule.from_kernel && kernel < *rule.from_kernel) return false;
  if (rule.with && (capabilities & capability_bit(*rule.with)) == 0) return false;
  return !rule.without || (capabilities & capability_bit(*rule.without)) == 0;
}

void add(scmp_filter_ctx context, std::uint32_t action, int number, const std::string& name, const scmp_arg_cmp* test) {
  const int result = seccomp_rule_add_array(context, action, number, test == nullptr ? 0 : 1, test);
  if (result != -EEXIST) check(result, name);  // named by two rules that hold
}

void add_call(scmp_filter_ctx context, const SeccompRule& rule, const std::string& name, int number) {
  const std::uint32_t action = rule.error == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(static_cast<unsigned>(rule.error));
  if (!rule.test) return add(context, action, number, name, nullptr);
  scmp_arg_cmp test{};
  test.arg = rule.test->index;
  for (const std::uint64_t value : rule.test->values) {
    switch (rule.test->kind) {
      case ArgumentTest::Kind::is:
        test.op = SCMP_CMP_EQ;
        test.datum_a = value;
        break;
      case ArgumentTest::Kind::below:
        test.op = SCMP_CMP_LT;
        test.datum_a = value;
        break;
      case ArgumentTest::Kind::none_of:
        test.op = SCMP_CMP_MASKED_EQ;
        test.datum_a = value;
        test.datum_b = 0;
        break;
    }
    add(context, action, number, name, &test);
  }
}

std::vector<sock_filter> exported(scmp_filter_ctx context) {
  const Fd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) throw_errno("memfd_create");
  check(seccomp_export_bpf(context, file.get()), "export");
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw_errno("stat of the seccomp filter");
  std::vector<sock_filter> program(static_cast<std::size_t>(status.st_size) / sizeof(sock_filter));
  if (::pread(file.get(), program.data(), program.size() * sizeof(sock_filter), 0) != status.st_size)
    throw_errno("read the seccomp filter");
  return program;
}

unsigned result_of(const SeccompRule& rule) {
  return rule.error == 0 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | static_cast<unsigned>(rule.error);
}

}  // namespace

std::vector<sock_filter> seccomp_program(const SeccompProfile& profile, std::uint64_t capabilities, KernelVersion kernel) {
  const Context context(seccomp_init(SCMP_ACT_ERRNO(static_cast<unsigned>(profile.otherwise))));
  if (!context) throw Error(Code::internal, "libseccomp has no room for a filter");
  for (const auto architecture : {static_cast<std::uint32_t>(SCMP_ARCH_X86), static_cast<std::uint32_t>(SCMP_ARCH_X32)})
    check(seccomp_arch_add(context.get(), architecture), "architecture");
  std::map<unsigned, unsigned> unheard;  // number → result
  unsigned newest = 0;
  for (const SeccompRule& rule : profile.rules) {
    for (const std::string& name : rule.calls) {
      const int number = seccomp_syscall_resolve_name(name.c_str());
      const NewCall* call = number == __NR_SCMP_ERROR ? new_call(name) : nullptr;
      if (number == __NR_SCMP_ERROR && (call == nullptr || rule.test)) {
        throw Error(Code::invalid, "seccomp profile " + profile.name + ": '" + name + "' is no system call that tare knows");
      }
      // A negative number is libseccomp's for a call that only another architecture has.
      newest = std::max(newest, call != nullptr ? call->number : static_cast<unsigned>(std::max(number, 0)));
      if (!holds(rule, capabilities, kernel)) continue;
      if (call == nullptr)
        add_call(context.get(), rule, name, number);
      else
        unheard[call->number] = result_of(rule);
    }
  }
  const auto override = [&](unsigned architecture, unsigned number) -> std::optional<unsigned> {
    const unsigned plain = architecture == AUDIT_ARCH_X86_64 ? number & ~kX32Calls : number;
    const bool own_of_x32 = number != plain && plain >= 512 && plain < 548;
    if (plain > newest && !own_of_x32) return SECCOMP_RET_ERRNO | static_cast<unsigned>(profile.newer);
    const auto found = unheard.find(plain);
    if (found == unheard.end() || (plain < kFirstCommon && (architecture != AUDIT_ARCH_X86_64 || number != plain))) return std::nullopt;
    return found->second;
  };
  return flatten(exported(context.get()), newest + 1, override);
}

KernelVersion running_kernel() {
  utsname name{};
  KernelVersion version;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%u.%u", &version.first, &version.second) != 2) throw_errno("uname");
  return version;
}

SeccompFilters& seccomp_filters() {
  static SeccompFilters filters;
  return filters;
}

int seccomp_file(const Isolation& isolation) {
  return isolation.seccomp.empty() ? -1 : seccomp_filters().of(seccomp_profile(isolation.seccomp), isolation.capabilities);
}

int SeccompFilters::of(const SeccompProfile& profile, std::uint64_t capabilities) {
  const std::lock_guard lock(mutex_);
  Fd& file = files_[{profile.digest, capabilities}];
  if (file) return file.get();
  const std::vector<sock_filter> program = seccomp_program(profile, capabilities, running_kernel());
  Fd made(::memfd_create("tare-seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!made) throw_errno("memfd_create");
  write_all(made.get(), {reinterpret_cast<const char*>(program.data()), program.size() * sizeof(sock_filter)}, "the seccomp filter");
  if (::fcntl(made.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    throw_errno("seal the seccomp filter");
  file = std::move(made);
  return file.get();
}

}  // namespace tare::container
