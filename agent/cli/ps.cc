// SPDX-License-Identifier: Apache-2.0
// `tare ps`: the instances that clients started.
#include <algorithm>
#include <array>

#include "agent/cli/verbs.h"
#include "agent/private_agent.h"
#include "agent/wire.h"

namespace tare::agent::cli {
namespace {

using Row = std::array<std::string, 7>;

std::string status_text(const boost::json::value& instance) {
  std::string text = text_at(instance, "state");
  const auto* exit = instance.as_object().if_contains("exit");
  if (exit == nullptr) return text;
  const auto* status = exit->as_object().if_contains("status");
  if (status != nullptr) text += " (" + std::to_string(status->as_int64()) + ")";
  const std::string sentence = text_at(*exit, "sentence");
  return sentence.empty() ? text : text + " " + sentence;
}

std::string command_text(const boost::json::value& instance) {
  std::string text;
  for (const auto& word : instance.at("command").as_array()) text += (text.empty() ? "" : " ") + std::string(word.as_string());
  return text.size() > 40 ? text.substr(0, 37) + "..." : text;
}

std::string table(const std::vector<Row>& rows) {
  std::array<std::size_t, std::tuple_size_v<Row>> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) out += row[i] + std::string(widths[i] + 2 - row[i].size(), ' ');
    out += row.back() + "\n";
  }
  return out;
}

}  // namespace

int ps(const Options& options, const MakeBackends&) {
  const AgentSession session(Paths::from_environment(), options.config);
  const std::string body = session.client().get("/tare/v1/instances");
  if (options.json) {
    print(body);
    return 0;
  }
  std::vector<Row> rows = {{"ID", "NAME", "BACKEND", "IMAGE", "CREATED", "COMMAND", "STATE"}};
  const auto answer = parse_json(body);
  for (const auto& instance : answer.at("instances").as_array()) {
    const std::string state = text_at(instance, "state");
    if (!options.all && state == "exited") continue;
    rows.push_back({text_at(instance, "id"), text_at(instance, "name"), text_at(instance, "backend"), text_at(instance, "image"),
                    text_at(instance, "created_at").substr(0, 19) + "Z", command_text(instance), status_text(instance)});
  }
  print(table(rows));
  return 0;
}

}  // namespace tare::agent::cli
