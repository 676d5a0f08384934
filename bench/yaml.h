// SPDX-License-Identifier: Apache-2.0
// A strict reader of YAML: every key is asked for by name, every value has one type, and what is wrong is said with file and line.
// Private to bench/: nothing that includes a public header of bench/ sees yaml-cpp.
#pragma once

#include <yaml-cpp/yaml.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/units.h"

namespace tare::bench::yaml {

// Hostile input meets these before it meets memory. An alias is a second reference to the same node in yaml-cpp, so that a nest of aliases
// costs nothing to parse; what it would cost to read is bounded by kMostItems, and by kMostBytes of text in one list or map.
constexpr std::size_t kMostText = 1U << 20;
constexpr std::size_t kMostItems = 1024;
constexpr std::size_t kMostBytes = 128U << 10;

/// `text` in quotes as a message shows it: shortened, without control characters.
std::string quoted(const std::string& text);

/// One node and where it stands. Cheap to copy.
class Value {  // NOLINT(bugprone-exception-escape): YAML::Node has no noexcept assignment
 public:
  /// Parses a whole document. Throws Error(invalid) for text that is too long, not UTF-8 or not YAML.
  static Value parse(const std::string& text, std::string_view file_name);

  /// Throws Error(invalid) "file:line: sentence".
  [[noreturn]] void fail(const std::string& sentence, const std::string& hint = {}) const;
  /// As it reads in a message: "trials", "limits.memory"; "" for the document.
  const std::string& what() const { return what_; }

  bool is_map() const { return node_.IsMap(); }
  bool is_list() const { return node_.IsSequence(); }
  bool is_text() const { return node_.IsScalar(); }

  std::string text() const;
  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  std::uint64_t unsigned_integer() const;
  double number() const;
  bool truth() const;  // true or false, and no other word for them
  Bytes bytes() const;
  std::chrono::nanoseconds duration() const;
  std::vector<std::string> texts() const;  // a list of scalars
  std::vector<Value> items() const;        // a list
  /// The entries of a map in the order of the file. Fails on a key that is no word or stands there twice.
  std::vector<std::pair<std::string, Value>> entries() const;
  /// "a list", "a map", "'12'", "nothing".
  std::string described() const;

 private:
  Value(const YAML::Node& node, std::string file, std::string what) : node_(node), file_(std::move(file)), what_(std::move(what)) {}
  std::string subject() const;

  YAML::Node node_;
  std::string file_;
  std::string what_;
  friend class Map;  // knows where a key stands
};

/// The entries of one map, taken by name. finish() fails on the first that nobody asked for.
class Map {
 public:
  explicit Map(const Value& value);
  std::optional<Value> take(std::string_view key);
  /// Fails with `hint` when the key is missing.
  Value require(std::string_view key, const std::string& hint);
  void finish() const;
  const Value& value() const { return value_; }

 private:
  Value value_;
  std::vector<std::pair<std::string, Value>> entries_;
  std::vector<std::string> known_;
};

}  // namespace tare::bench::yaml
