// SPDX-License-Identifier: Apache-2.0
#include "vm/clone.h"

#include <algorithm>

namespace tare::vm {
namespace {

constexpr std::size_t kMostFrozen = 8;

}  // namespace

std::shared_ptr<const Frozen> FrozenGuests::find(const Workload& shape) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.shape == shape; });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return found->frozen;
}

std::shared_ptr<const Frozen> FrozenGuests::find_or_make(const Workload& shape, const Make& make) {
  const std::lock_guard one(making_);
  if (auto frozen = find(shape)) return frozen;
  auto frozen = make();
  std::list<Entry> given_up;  // removed without the lock
  const std::lock_guard lock(mutex_);
  entries_.push_front({shape, frozen});
  if (entries_.size() > kMostFrozen) given_up.splice(given_up.end(), entries_, std::prev(entries_.end()));
  return frozen;
}

void FrozenGuests::clear() {
  std::list<Entry> given_up;
  const std::lock_guard lock(mutex_);
  given_up.swap(entries_);
}

}  // namespace tare::vm
