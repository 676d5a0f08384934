// SPDX-License-Identifier: Apache-2.0
#include "guest/command.h"

#include <cstring>

namespace tare::guest {

char* Command::keep(std::string_view text) noexcept {
  if (text.size() >= kArena - used_) {
    overflow_ = true;
    return nullptr;
  }
  char* at = arena_ + used_;
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  at[text.size()] = '\0';
  used_ += text.size() + 1;
  return at;
}

void Command::add(Strings& strings, std::string_view text) noexcept {
  char* kept = keep(text);
  if (kept == nullptr || strings.count + 1 >= kMostStrings) {
    overflow_ = true;
    return;
  }
  strings.items[strings.count++] = kept;
  strings.items[strings.count] = nullptr;
}

void Command::add_group(const Group& group) noexcept {
  if (group_count_ == kMostGroups) {
    overflow_ = true;
    return;
  }
  groups_[group_count_++] = group.gid;
}

void Command::add_limit(const Limit& limit) noexcept {
  if (limit_count_ == kMostLimits) {
    overflow_ = true;
    return;
  }
  limits_[limit_count_++] = limit;
}

void Command::clear() noexcept {
  used_ = arguments_.count = environment_.count = group_count_ = limit_count_ = 0;
  arguments_.items[0] = environment_.items[0] = nullptr;
  program_ = directory_ = nullptr;
  overflow_ = false;
}

}  // namespace tare::guest
