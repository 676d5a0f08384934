// SPDX-License-Identifier: Apache-2.0
#include "vm/exits.h"

#include <boost/json.hpp>
#include <optional>
#include <utility>

namespace tare::vm {
namespace json = boost::json;
namespace {

// Each exit of the processor is counted as at most one of these. The kernel's signal_exits and request_irq_exits are returns to QEMU that
// follow an exit, and so no reasons of their own.
constexpr std::pair<std::string_view, std::string_view> kReasons[] = {
    {"io_exits", "io"},
    {"mmio_exits", "mmio"},
    {"halt_exits", "halt"},
    {"irq_exits", "interrupt"},
    {"hypercalls", "hypercall"},
    {"irq_window_exits", "interrupt_window"},
    {"nmi_window_exits", "nmi_window"},
};

std::optional<std::string_view> reason_of(std::string_view statistic) {
  for (const auto& [name, reason] : kReasons) {
    if (name == statistic) return reason;
  }
  return std::nullopt;
}

}  // namespace

std::map<std::string, std::uint64_t> exits_of(const std::string& answer) try {
  std::map<std::string, std::uint64_t> exits;
  std::uint64_t all = 0, explained = 0;
  const json::value root = json::parse(answer);
  for (const json::value& cpu : root.at("return").as_array()) {
    for (const json::value& statistic : cpu.at("stats").as_array()) {
      const json::value& value = statistic.at("value");
      if (!value.is_number()) continue;  // a histogram
      const auto count = value.to_number<std::uint64_t>();
      const std::string_view name = statistic.at("name").as_string();
      if (name == "exits") all += count;
      if (const auto reason = reason_of(name)) exits[std::string(*reason)] += count, explained += count;
    }
  }
  if (all == 0) return {};
  if (all >= explained) exits["other"] = all - explained;
  return exits;
} catch (const std::exception&) {  // no such statistics
  return {};
}

}  // namespace tare::vm
