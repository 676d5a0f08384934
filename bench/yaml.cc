// SPDX-License-Identifier: Apache-2.0
#include "bench/yaml.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "core/error.h"
#include "core/words.h"

namespace tare::bench::yaml {
namespace {

constexpr std::size_t kQuoted = 80;  // of a wrong value in a message

std::string shortened(const std::string& text) {
  std::string out = text.substr(0, kQuoted);
  // Never half a character of UTF-8, and no control characters on somebody's terminal.
  while (out.size() < text.size() && !out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0U) == 0x80U) out.pop_back();
  if (out.size() < text.size() && !out.empty() && (static_cast<unsigned char>(out.back()) & 0x80U) != 0) out.pop_back();
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out.size() < text.size() ? out + "…" : out;
}

std::string place(const std::string& file, const YAML::Mark& mark) {
  return mark.is_null() ? file : file + ":" + std::to_string(mark.line + 1);
}

// Length of the UTF-8 sequence at text[i] (RFC 3629), 0 when it is none.
std::size_t sequence_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0U; };
  const unsigned lead = byte(i);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
  for (std::size_t k = 1; k < length; ++k) {
    if ((byte(i + k) & 0xC0U) != 0x80U) return 0;
  }
  if (lead == 0xE0 && byte(i + 1) < 0xA0) return 0;  // overlong
  if (lead == 0xED && byte(i + 1) > 0x9F) return 0;  // surrogate
  if (lead == 0xF0 && byte(i + 1) < 0x90) return 0;  // overlong
  if (lead == 0xF4 && byte(i + 1) > 0x8F) return 0;  // beyond U+10FFFF
  return length;
}

void check_text(const std::string& text, const std::string& file) {
  if (text.size() > kMostText) {
    throw Error(Code::invalid, file + ": " + text_of(Bytes{text.size()}) + " of YAML, more than " + text_of(Bytes{kMostText}),
                "a suite is a page of text; is this the right file?");
  }
  std::size_t line = 1;
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const std::size_t length = sequence_length(text, i);
    if (length == 0 || (c < 0x20 && c != '\n' && c != '\r' && c != '\t')) {
      throw Error(Code::invalid, file + ":" + std::to_string(line) + ": a byte that is not UTF-8 text", "save the file as UTF-8");
    }
    if (c == '\n') ++line;
    i += length;
  }
}

}  // namespace

std::string quoted(const std::string& text) {
  std::string out = shortened(text);
  out.insert(out.begin(), '\'');
  out += '\'';
  return out;
}

Value Value::parse(const std::string& text, std::string_view file_name) {
  const std::string file(file_name);
  check_text(text, file);
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      const Value second(documents[1], file, "");
      second.fail("a second YAML document begins", "a suite is one document; remove the line '---'");
    }
    return {documents.empty() ? YAML::Node() : documents[0], file, ""};
  } catch (const YAML::Exception& error) {
    throw Error(Code::invalid, place(file, error.mark) + ": not YAML: " + error.msg,
                "check the indentation and the brackets above that line");
  }
}

void Value::fail(const std::string& sentence, const std::string& hint) const {
  throw Error(Code::invalid, place(file_, node_.Mark()) + ": " + sentence, hint);
}

std::string Value::subject() const { return what_.empty() ? "the document" : "'" + what_ + "'"; }

std::string Value::described() const {
  switch (node_.Type()) {
    case YAML::NodeType::Sequence: return "a list";
    case YAML::NodeType::Map: return "a map";
    case YAML::NodeType::Scalar: return quoted(node_.Scalar());
    case YAML::NodeType::Null:
    case YAML::NodeType::Undefined: break;
  }
  return "nothing";
}

std::string Value::text() const {
  if (!is_text()) fail(subject() + " is " + described() + " and should be one word or number");
  const std::string& text = node_.Scalar();
  if (text.find('\0') != std::string::npos) fail(subject() + " holds a NUL character");
  if (text.size() > kMostBytes) fail(subject() + " is longer than " + text_of(Bytes{kMostBytes}));
  return text;
}

std::int64_t Value::integer(std::int64_t least, std::int64_t most) const {
  const std::string word = is_text() ? node_.Scalar() : std::string();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (word.empty() || error != std::errc() || end != word.data() + word.size() || number < least || number > most) {
    fail(subject() + " is " + described() + " and should be a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return number;
}

std::uint64_t Value::unsigned_integer() const {
  const std::string word = is_text() ? node_.Scalar() : std::string();
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (word.empty() || error != std::errc() || end != word.data() + word.size()) {
    fail(subject() + " is " + described() + " and should be a whole number from 0 to 18446744073709551615");
  }
  return number;
}

double Value::number() const {
  const std::string word = is_text() ? node_.Scalar() : std::string();
  double number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (word.empty() || error != std::errc() || end != word.data() + word.size() || !std::isfinite(number)) {
    fail(subject() + " is " + described() + " and should be a number");
  }
  return number;
}

bool Value::truth() const {
  const std::string word = is_text() ? node_.Scalar() : std::string();
  if (word != "true" && word != "false") fail(subject() + " is " + described() + " and should be true or false");
  return word == "true";
}

Bytes Value::bytes() const {
  try {
    return parse_bytes(text());
  } catch (const Error& error) {
    if (!is_text()) throw;
    fail(subject() + ": " + error.sentence(), error.hint());
  }
}

std::chrono::nanoseconds Value::duration() const {
  try {
    return parse_duration(text());
  } catch (const Error& error) {
    if (!is_text()) throw;
    fail(subject() + ": " + error.sentence(), error.hint());
  }
}

std::vector<Value> Value::items() const {
  if (!is_list()) fail(subject() + " is " + described() + " and should be a list", "write [a, b] or one '- item' a line");
  if (node_.size() > kMostItems) fail(subject() + " has more than " + std::to_string(kMostItems) + " items");
  std::vector<Value> out;
  std::size_t index = 0;
  for (const YAML::Node& item : node_) out.push_back(Value(item, file_, what_ + "[" + std::to_string(index++) + "]"));
  return out;
}

std::vector<std::string> Value::texts() const {
  std::vector<std::string> out;
  std::size_t total = 0;
  for (const Value& item : items()) {
    out.push_back(item.text());
    total += out.back().size();
    if (total > kMostBytes) fail(subject() + " is longer than " + text_of(Bytes{kMostBytes}));
  }
  return out;
}

std::vector<std::pair<std::string, Value>> Value::entries() const {
  if (!is_map()) fail(subject() + " is " + described() + " and should be a map", "write 'key: value' lines");
  if (node_.size() > kMostItems) fail(subject() + " has more than " + std::to_string(kMostItems) + " keys");
  std::vector<std::pair<std::string, Value>> out;
  std::set<std::string> seen;
  std::size_t total = 0;
  for (const auto& entry : node_) {
    const Value key(entry.first, file_, what_);
    if (!key.is_text()) key.fail("a key is " + key.described() + " and should be a word");
    const std::string word = entry.first.Scalar();
    if (!seen.insert(word).second) key.fail(quoted(word) + " stands there twice", "keep one of the two");
    total += word.size() + (entry.second.IsScalar() ? entry.second.Scalar().size() : 0);
    if (total > kMostBytes) fail(subject() + " is longer than " + text_of(Bytes{kMostBytes}));
    Value value(entry.second, file_, what_.empty() ? word : what_ + "." + word);
    out.emplace_back(word, value);
  }
  return out;
}

Map::Map(const Value& value) : value_(value), entries_(value.entries()) {}

std::optional<Value> Map::take(std::string_view key) {
  known_.emplace_back(key);
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const auto& entry) { return entry.first == key; });
  return found == entries_.end() ? std::nullopt : std::optional(found->second);
}

Value Map::require(std::string_view key, const std::string& hint) {
  auto found = take(key);
  if (!found) value_.fail(value_.subject() + " has no '" + std::string(key) + "'", hint);
  return *found;
}

void Map::finish() const {
  for (const auto& [word, value] : entries_) {
    if (std::find(known_.begin(), known_.end(), word) != known_.end()) continue;
    const std::string near = nearest_word(word, known_);
    // The key's own place, not the value's: a value may stand lines below.
    for (const auto& entry : value_.node_) {
      if (entry.first.Scalar() != word) continue;
      const Value key(entry.first, value_.file_, value_.what_);
      key.fail("unknown key " + quoted(word) + (near.empty() ? "" : " (did you mean '" + near + "'?)"),
               near.empty() ? "known here: " + listed(known_) : "");
    }
  }
}

}  // namespace tare::bench::yaml
