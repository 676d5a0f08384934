// SPDX-License-Identifier: Apache-2.0
#include "container/seccomp_profile.h"

#include <cerrno>
#include <charconv>

#include "container/capabilities.h"
#include "container/seccomp_builtin.h"
#include "core/error.h"
#include "image/digest.h"

namespace tare::container {
namespace {

/// One line, word by word; every complaint names it.
class Line {
 public:
  Line(const std::string& profile, std::size_t number, std::string_view text) : profile_(profile), number_(number) {
    text = text.substr(0, text.find('#'));
    indented_ = text.starts_with(' ');
    for (std::size_t at = 0; (at = text.find_first_not_of(' ', at)) != std::string_view::npos;) {
      const std::size_t end = std::min(text.find(' ', at), text.size());
      words_.push_back(text.substr(at, end - at));
      at = end;
    }
  }
  bool indented() const { return indented_; }
  bool finished() const { return next_ == words_.size(); }
  bool accept(std::string_view word) {
    if (finished() || words_[next_] != word) return false;
    ++next_;
    return true;
  }
  std::string_view word(std::string_view what) {
    if (finished()) fail("lacks " + std::string(what));
    return words_[next_++];
  }
  std::uint64_t number(std::string_view what) {
    const std::string_view text = word(what);
    const bool hexadecimal = text.starts_with("0x");
    const std::string_view digits = text.substr(hexadecimal ? 2 : 0);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, hexadecimal ? 16 : 10);
    if (error != std::errc() || end != digits.data() + digits.size()) fail("'" + std::string(text) + "' is no " + std::string(what));
    return value;
  }
  [[noreturn]] void fail(const std::string& why) const {
    throw Error(Code::invalid, "seccomp profile " + profile_ + ":" + std::to_string(number_) + ": " + why,
                "its form is told at the head of container/profiles/standard.seccomp");
  }

 private:
  const std::string& profile_;
  std::size_t number_;
  bool indented_ = false;
  std::vector<std::string_view> words_;
  std::size_t next_ = 0;
};

int error_of(Line& line) {
  const std::string_view word = line.word("an error");
  if (word == "EPERM") return EPERM;
  if (word == "EACCES") return EACCES;
  if (word == "ENOSYS") return ENOSYS;
  line.fail("'" + std::string(word) + "' is neither EPERM nor EACCES nor ENOSYS");
}

int capability_of(Line& line) {
  const std::string_view word = line.word("a capability");
  const auto number = capability_named(word);
  if (!number) line.fail("'" + std::string(word) + "' is no capability");
  return *number;
}

KernelVersion version_of(Line& line) {
  const std::string_view word = line.word("a version");
  KernelVersion version;
  const char* const end = word.data() + word.size();
  const auto major = std::from_chars(word.data(), end, version.first);
  if (major.ec == std::errc() && major.ptr != end && *major.ptr == '.') {
    const auto minor = std::from_chars(major.ptr + 1, end, version.second);
    if (minor.ec == std::errc() && minor.ptr == end) return version;
  }
  line.fail("'" + std::string(word) + "' is no version of a kernel");
}

ArgumentTest test_of(Line& line) {
  ArgumentTest test;
  if (!line.accept("argument")) line.fail("'if' goes on with 'argument'");
  test.index = static_cast<unsigned>(line.number("number of an argument"));
  if (test.index > 5) line.fail("a system call has no argument " + std::to_string(test.index));
  if (line.accept("is")) {
    do test.values.push_back(line.number("value"));
    while (!line.finished());
    return test;
  }
  test.kind = line.accept("below") ? ArgumentTest::Kind::below : ArgumentTest::Kind::none_of;
  if (test.kind == ArgumentTest::Kind::none_of && !(line.accept("has") && line.accept("none") && line.accept("of"))) {
    line.fail("an argument 'is', is 'below' or 'has none of'");
  }
  test.values.push_back(line.number("value"));
  return test;
}

SeccompRule head_of(Line& line) {
  SeccompRule rule;
  if (!line.accept("allow")) rule.error = error_of(line);
  while (!line.finished()) {
    if (line.accept("with"))
      rule.with = capability_of(line);
    else if (line.accept("without"))
      rule.without = capability_of(line);
    else if (line.accept("from")) {
      if (!line.accept("kernel")) line.fail("'from' goes on with 'kernel'");
      rule.from_kernel = version_of(line);
    } else if (line.accept("if"))
      rule.test = test_of(line);
    else
      line.fail("'" + std::string(line.word("a condition")) + "' is no condition");
  }
  return rule;
}

void read_line(SeccompProfile& profile, Line line) {
  if (line.finished()) return;
  if (line.indented()) {
    if (profile.rules.empty()) line.fail("no head tells what holds for these calls");
    while (!line.finished()) profile.rules.back().calls.emplace_back(line.word("a call"));
    return;
  }
  if (line.accept("otherwise"))
    profile.otherwise = error_of(line);
  else if (line.accept("newer"))
    profile.newer = error_of(line);
  else
    profile.rules.push_back(head_of(line));
  if (!line.finished()) line.fail("'" + std::string(line.word("the end")) + "' is too much");
}

}  // namespace

SeccompProfile parse_seccomp_profile(std::string name, std::string_view text) {
  SeccompProfile profile;
  profile.name = std::move(name);
  image::Digest digest;
  digest.add(text);
  profile.digest = digest.text();
  std::size_t number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    read_line(profile, Line(profile.name, ++number, rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (profile.otherwise == 0 || profile.newer == 0) {
    throw Error(Code::invalid, "seccomp profile " + profile.name + ": lacks 'otherwise' or 'newer'", "write: otherwise EPERM");
  }
  return profile;
}

const SeccompProfile& seccomp_profile(std::string_view name) {
  static const SeccompProfile standard = parse_seccomp_profile("standard", kStandardSeccomp);
  if (name == standard.name) return standard;
  throw Error(Code::not_found, "there is no seccomp profile '" + std::string(name) + "'");
}

}  // namespace tare::container
