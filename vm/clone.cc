// SPDX-License-Identifier: Apache-2.0
#include "vm/clone.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "core/error.h"
#include "core/files.h"

namespace tare::vm {
namespace {

constexpr std::size_t kMostFrozen = 8;

}  // namespace

// Each clone's QEMU opens the memory for writing, and may do so as a user of its own: in its jail, while nobody else gets to it here.
Frozen::Frozen(const Paths& paths) : directory(paths, new_instance_id()) {
  std::filesystem::permissions(directory.path(), std::filesystem::perms::owner_all);
  const Fd file = open_file(memory(), O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (::fchmod(file.get(), 0666) != 0) throw_errno("open " + memory().string() + " to its clones");
}

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
