// SPDX-License-Identifier: Apache-2.0
#include "core/paths.h"

#include <cstdlib>
#include <system_error>

namespace tare {
namespace {

void override_from(const char* variable, std::filesystem::path& path) {
  const char* value = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): no thread sets it
  if (value != nullptr && *value != '\0') path = value;
}

}  // namespace

Paths Paths::from_environment() {
  Paths paths;
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  paths.libexec = program.parent_path().parent_path() / "libexec" / "tare";
  override_from("TARE_STATE_DIR", paths.state);
  override_from("TARE_RUN_DIR", paths.run);
  override_from("TARE_LIBEXEC_DIR", paths.libexec);
  return paths;
}

}  // namespace tare
