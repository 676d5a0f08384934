// SPDX-License-Identifier: Apache-2.0
// The seccomp filter as the kernel would run it, here by an interpreter of the few instructions that such programs have.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include "container/capabilities.h"
#include "container/isolation.h"
#include "container/seccomp_profile.h"
#include "container/seccomp_program.h"
#include "core/error.h"

namespace tare::container {
namespace {

using ::testing::HasSubstr;

constexpr long kX32Bit = 0x40000000;

/// What `program` answers: 0 for allowed, the errno of a refusal, -1 for the end of the process.
int run(const std::vector<sock_filter>& program, const seccomp_data& data) {
  unsigned a = 0;
  for (std::size_t at = 0; at < program.size(); ++at) {
    const sock_filter& i = program[at];
    const auto jump = [&](bool taken) { at += taken ? i.jt : i.jf; };
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS: std::memcpy(&a, reinterpret_cast<const char*>(&data) + i.k, sizeof a); break;
      case BPF_ALU | BPF_AND | BPF_K: a &= i.k; break;
      case BPF_JMP | BPF_JA: at += i.k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: jump(a == i.k); break;
      case BPF_JMP | BPF_JGT | BPF_K: jump(a > i.k); break;
      case BPF_JMP | BPF_JGE | BPF_K: jump(a >= i.k); break;
      case BPF_JMP | BPF_JSET | BPF_K: jump((a & i.k) != 0); break;
      case BPF_RET | BPF_K:
        if (i.k == SECCOMP_RET_ALLOW) return 0;
        return (i.k & SECCOMP_RET_ACTION) == SECCOMP_RET_ERRNO ? static_cast<int>(i.k & SECCOMP_RET_DATA) : -1;
      default: ADD_FAILURE() << "instruction " << i.code; return -2;
    }
  }
  ADD_FAILURE() << "no return";
  return -2;
}

struct Filter {
  explicit Filter(std::uint64_t capabilities, KernelVersion kernel = {6, 1})
      : program(seccomp_program(seccomp_profile("standard"), capabilities, kernel)) {}
  int operator()(long call, std::uint64_t first = 0, unsigned architecture = AUDIT_ARCH_X86_64) const {
    seccomp_data data{};
    data.nr = static_cast<int>(call);
    data.arch = architecture;
    data.args[0] = first;
    return run(program, data);
  }
  std::vector<sock_filter> program;
};

const std::uint64_t kDocker = Isolation::container(Security::standard).capabilities;

TEST(Seccomp, EverydayCallsAreAllowedAndTheDangerousRefused) {
  const Filter filter(kDocker);
  for (const long call : {SYS_read, SYS_openat, SYS_execve, SYS_mmap, SYS_futex, SYS_ptrace, SYS_seccomp, SYS_chroot, SYS_close_range}) {
    EXPECT_EQ(filter(call), 0) << call;
  }
  for (const long call : {SYS_mount, SYS_unshare, SYS_setns, SYS_bpf, SYS_keyctl, SYS_add_key, SYS_init_module, SYS_kexec_load,
                          SYS_perf_event_open, SYS_reboot, SYS_userfaultfd, SYS_io_uring_setup, SYS_move_mount, SYS_iopl}) {
    EXPECT_EQ(filter(call), EPERM) << call;
  }
}

TEST(Seccomp, NewNamespacesNeedTheCapability) {
  const Filter filter(kDocker);
  EXPECT_EQ(filter(SYS_clone, 0), 0);
  EXPECT_EQ(filter(SYS_clone, 0x00003d0f00), 0) << "a thread of the C library";
  for (const std::uint64_t flag : {0x00020000U, 0x02000000U, 0x04000000U, 0x08000000U, 0x10000000U, 0x20000000U, 0x40000000U}) {
    EXPECT_EQ(filter(SYS_clone, flag), EPERM) << std::hex << flag;
    EXPECT_EQ(filter(SYS_clone, flag | 0x100), EPERM) << std::hex << flag;
  }
  EXPECT_EQ(filter(SYS_clone3), ENOSYS);
  const Filter admin(kDocker | capability_bit(CAP_SYS_ADMIN));
  for (const long call : {SYS_clone3, SYS_mount, SYS_unshare, SYS_bpf, SYS_setns}) EXPECT_EQ(admin(call), 0) << call;
  EXPECT_EQ(admin(SYS_clone, 0x10000000), 0);
}

TEST(Seccomp, OneGroupForEachCapability) {
  const std::pair<int, long> groups[] = {{CAP_SYS_MODULE, SYS_init_module},  {CAP_SYS_BOOT, SYS_reboot},
                                         {CAP_SYS_TIME, SYS_clock_settime},  {CAP_SYS_PACCT, SYS_acct},
                                         {CAP_SYS_RAWIO, SYS_iopl},          {CAP_SYSLOG, SYS_syslog},
                                         {CAP_PERFMON, SYS_perf_event_open}, {CAP_BPF, SYS_bpf},
                                         {CAP_SYS_NICE, SYS_mbind},          {CAP_SYS_PTRACE, SYS_kcmp},
                                         {CAP_SYS_TTY_CONFIG, SYS_vhangup},  {CAP_DAC_READ_SEARCH, SYS_open_by_handle_at},
                                         {CAP_SYS_CHROOT, SYS_chroot}};
  const Filter none(0);
  for (const auto& [capability, call] : groups) {
    EXPECT_EQ(Filter(capability_bit(capability))(call), 0) << call;
    EXPECT_EQ(none(call), EPERM) << call;
  }
}

TEST(Seccomp, OfTheSocketFamiliesExactlyTwoAreRefused) {
  const Filter filter(kDocker);
  for (unsigned family = 0; family <= 45; ++family) {
    EXPECT_EQ(filter(SYS_socket, family), family == AF_ALG || family == AF_VSOCK ? EPERM : 0) << family;
  }
  // The kernel takes the lower half only: these are AF_ALG and AF_VSOCK again.
  EXPECT_EQ(filter(SYS_socket, 0x1'0000'0026), EPERM);
  EXPECT_EQ(filter(SYS_socket, 0xffff'ffff'0000'0028), EPERM);
}

TEST(Seccomp, PersonalityMayBeAskedForAndSetToFour) {
  const Filter filter(kDocker);
  for (const std::uint64_t value : {0x0ULL, 0x8ULL, 0x20000ULL, 0x20008ULL, 0xffffffffULL}) EXPECT_EQ(filter(SYS_personality, value), 0);
  EXPECT_EQ(filter(SYS_personality, ADDR_NO_RANDOMIZE), EPERM);
  EXPECT_EQ(filter(SYS_personality, READ_IMPLIES_EXEC), EPERM);
}

TEST(Seccomp, PtraceNeedsAKernelThatFiltersAfterIt) {
  EXPECT_EQ(Filter(kDocker, {4, 7})(SYS_ptrace), EPERM);
  EXPECT_EQ(Filter(kDocker, {4, 8})(SYS_ptrace), 0);
  EXPECT_EQ(Filter(kDocker | capability_bit(CAP_SYS_PTRACE), {4, 7})(SYS_ptrace), 0);
}

TEST(Seccomp, CallsThatLibseccompHasNotHeardOfFollowTheProfile) {
  const Filter filter(kDocker);
  for (const long call : {335L, 457L, 458L, 462L, 463L, 464L, 465L, 466L}) EXPECT_EQ(filter(call), 0) << call;
  for (const long call : {459L, 460L, 461L}) {
    EXPECT_EQ(filter(call), EPERM) << call;
    EXPECT_EQ(Filter(capability_bit(CAP_SYS_ADMIN))(call), 0) << call;
  }
}

TEST(Seccomp, WhatIsNewerThanTheProfileIsNotImplemented) {
  const Filter filter(kDocker);
  for (const long call : {467L, 470L, 600L, 0x3fffffffL, -1L}) {
    EXPECT_EQ(filter(call), ENOSYS) << call;
    EXPECT_EQ(filter(call, 0, AUDIT_ARCH_I386), ENOSYS) << call;
  }
  EXPECT_EQ(filter(kX32Bit | 467), ENOSYS);
}

TEST(Seccomp, TheOtherTwoArchitecturesOfTheMachineAreFilteredAlike) {
  const Filter filter(kDocker);
  EXPECT_EQ(filter(3, 0, AUDIT_ARCH_I386), 0) << "read";
  EXPECT_EQ(filter(21, 0, AUDIT_ARCH_I386), EPERM) << "mount";
  EXPECT_EQ(filter(120, 0x10000000, AUDIT_ARCH_I386), EPERM) << "clone";
  EXPECT_EQ(filter(435, 0, AUDIT_ARCH_I386), ENOSYS) << "clone3";
  EXPECT_EQ(filter(359, AF_ALG, AUDIT_ARCH_I386), EPERM) << "socket";
  EXPECT_EQ(filter(102, 1, AUDIT_ARCH_I386), 0) << "socketcall";
  EXPECT_EQ(filter(335, 0, AUDIT_ARCH_I386), 0) << "rt_tgsigqueueinfo, not uretprobe";
  EXPECT_EQ(filter(kX32Bit | SYS_read), 0);
  EXPECT_EQ(filter(kX32Bit | SYS_mount), EPERM);
  EXPECT_EQ(filter(kX32Bit | SYS_socket, AF_ALG), EPERM);
  EXPECT_EQ(filter(kX32Bit | 462), 0) << "mseal";
  EXPECT_EQ(filter(SYS_read, 0, AUDIT_ARCH_AARCH64), -1) << "no architecture of this machine";
}

TEST(Seccomp, TheProgramIsShort) { EXPECT_LT(Filter(kDocker).program.size(), 400U) << "its length costs time at each start"; }

TEST(Seccomp, ProgramsAreMadeOnceAndSealed) {
  SeccompFilters filters;
  const int file = filters.of(seccomp_profile("standard"), kDocker);
  EXPECT_EQ(filters.of(seccomp_profile("standard"), kDocker), file);
  EXPECT_NE(filters.of(seccomp_profile("standard"), 0), file);
  EXPECT_EQ(::fcntl(file, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

std::string complaint(std::string_view text) {
  try {
    parse_seccomp_profile("p", text);
  } catch (const Error& error) {
    return error.sentence();
  }
  return "none";
}

TEST(SeccompProfile, HeadsAndCallsAreRead) {
  const SeccompProfile p =
      parse_seccomp_profile("p",
                            "# words\notherwise EPERM\nnewer ENOSYS\n\nallow\n  a b\n  c\nEACCES with bpf from kernel 5.6\n"
                            "  d\nallow without sys_admin if argument 2 has none of 0x10\n  e\n");
  EXPECT_EQ(p.otherwise, EPERM);
  EXPECT_EQ(p.newer, ENOSYS);
  ASSERT_EQ(p.rules.size(), 3U);
  EXPECT_THAT(p.rules[0].calls, ::testing::ElementsAre("a", "b", "c"));
  EXPECT_EQ(p.rules[1].error, EACCES);
  EXPECT_EQ(p.rules[1].with, CAP_BPF);
  EXPECT_EQ(p.rules[1].from_kernel, KernelVersion(5, 6));
  EXPECT_EQ(p.rules[2].without, CAP_SYS_ADMIN);
  ASSERT_TRUE(p.rules[2].test);
  EXPECT_EQ(p.rules[2].test->index, 2U);
  EXPECT_EQ(p.rules[2].test->kind, ArgumentTest::Kind::none_of);
}

TEST(SeccompProfile, MistakesAreNamedWithTheirLine) {
  EXPECT_THAT(complaint("otherwise EPERM\nnewer ENOSYS\nallow with sys_amdin\n  a\n"), HasSubstr("p:3: 'sys_amdin' is no capability"));
  EXPECT_THAT(complaint("otherwise MAYBE\n"), HasSubstr("p:1: 'MAYBE' is neither"));
  EXPECT_THAT(complaint("  read\n"), HasSubstr("p:1: no head"));
  EXPECT_THAT(complaint("allow if argument 7 is 1\n"), HasSubstr("argument 7"));
  EXPECT_THAT(complaint("allow if argument 0 is 0xzz\n"), HasSubstr("'0xzz' is no value"));
  EXPECT_THAT(complaint("allow if argument 0 is\n"), HasSubstr("lacks value"));
  EXPECT_THAT(complaint("allow from kernel six\n"), HasSubstr("'six' is no version"));
  EXPECT_THAT(complaint("allow sometimes\n"), HasSubstr("'sometimes' is no condition"));
  EXPECT_THAT(complaint("otherwise EPERM EPERM\n"), HasSubstr("too much"));
  EXPECT_THAT(complaint("allow\n  read\n"), HasSubstr("lacks 'otherwise' or 'newer'"));
}

TEST(SeccompProfile, ACallThatNobodyKnowsIsNamed) {
  const SeccompProfile p = parse_seccomp_profile("p", "otherwise EPERM\nnewer ENOSYS\nallow\n  raed\n");
  try {
    seccomp_program(p, 0, {6, 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.sentence(), HasSubstr("'raed'"));
  }
}

}  // namespace
}  // namespace tare::container
