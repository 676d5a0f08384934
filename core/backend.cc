// SPDX-License-Identifier: Apache-2.0
#include "core/backend.h"

#include <sys/random.h>

#include <array>

#include "core/error.h"
#include "core/instance_dir.h"

namespace tare {

std::string_view name(State state) noexcept {
  constexpr std::array<std::string_view, 5> kNames = {"created", "running", "paused", "exited", "removed"};
  return kNames[static_cast<std::size_t>(state)];
}

std::unique_ptr<Instance> Backend::start_kept(InstanceDir directory, const Workload& workload, Timeline& timeline) {
  directory.remove();
  return start(workload, timeline);
}

std::unique_ptr<Instance> Backend::adopt(InstanceDir&, const Workload&, Timeline&) { return nullptr; }

std::string new_instance_id() {
  std::array<unsigned char, 6> random{};
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) throw_errno("getrandom");
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string id = "t";
  for (const unsigned char byte : random) {
    id += kDigits[byte >> 4U];
    id += kDigits[byte & 15U];
  }
  return id;
}

}  // namespace tare
