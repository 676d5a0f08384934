// SPDX-License-Identifier: Apache-2.0
// A seccomp profile as a value: which system calls a workload may make, under which conditions. Read from a text whose form is told at
// the head of profiles/standard.seccomp. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tare::container {

using KernelVersion = std::pair<unsigned, unsigned>;  // major, minor

/// What an argument of the call has to be, all 64 bits of it.
struct ArgumentTest {
  enum class Kind { is, below, none_of };
  unsigned index = 0;
  Kind kind = Kind::is;
  std::vector<std::uint64_t> values;  // is: any of them; below and none_of: exactly one
};

struct SeccompRule {
  int error = 0;  // 0: allowed; else the errno of the call
  std::vector<std::string> calls;
  std::optional<KernelVersion> from_kernel;
  std::optional<int> with;     // capability that the workload's bounding set has
  std::optional<int> without;  // capability that it lacks
  std::optional<ArgumentTest> test;
};

struct SeccompProfile {
  std::string name;
  std::string digest;  // "sha256:…" of its text
  int otherwise = 0;   // errno of a call that no rule names
  int newer = 0;       // errno of a call with a greater number than any that is named
  std::vector<SeccompRule> rules;
};

/// Throws Error(invalid) that names profile, line and word.
SeccompProfile parse_seccomp_profile(std::string name, std::string_view text);
/// The profile that is built in, by name ("standard"). Throws Error(not_found).
const SeccompProfile& seccomp_profile(std::string_view name);

}  // namespace tare::container
