// SPDX-License-Identifier: Apache-2.0
#include "vm/console.h"

#include <algorithm>

#include "core/files.h"

namespace tare::vm {
namespace {

constexpr std::size_t kMostShown = 200;

}  // namespace

std::string last_console_line(const std::filesystem::path& console) {
  std::string text = try_read_file(console).value_or("");
  const std::size_t panic = text.rfind("Kernel panic");
  if (panic != std::string::npos) {  // a trace follows it
    const std::size_t end = std::min(text.find_first_of("\r\n", panic), text.size());
    return "; its kernel panicked: " + text.substr(panic, std::min(end - panic, kMostShown));
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  const std::size_t begin = text.rfind('\n');
  text.erase(0, begin == std::string::npos ? 0 : begin + 1);
  text.resize(std::min(text.size(), kMostShown));
  return text.empty() ? "; its kernel printed nothing" : text.insert(0, "; its kernel's last line: ");
}

}  // namespace tare::vm
