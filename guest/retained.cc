// SPDX-License-Identifier: Apache-2.0
#include "guest/retained.h"

#include <algorithm>
#include <cstring>

namespace tare::guest {

std::size_t Retained::room() const noexcept {
  if (run_count_ == kMostRuns && run(0).end > sent_) return 0;
  return kCapacity - static_cast<std::size_t>(end_ - sent_);
}

void Retained::forget_to(std::uint64_t position) noexcept {
  begin_ = std::max(begin_, position);
  while (run_count_ > 0 && run(0).end <= begin_) {
    first_run_ = (first_run_ + 1) % kMostRuns;
    --run_count_;
  }
}

void Retained::add(std::uint8_t stream, std::string_view bytes) noexcept {
  if (bytes.empty()) return;
  const std::uint64_t end = end_ + bytes.size();
  if (end - begin_ > kCapacity) forget_to(end - kCapacity);
  for (std::size_t done = 0; done < bytes.size();) {
    const std::size_t at = static_cast<std::size_t>((end_ + done) % kCapacity);
    const std::size_t count = std::min(bytes.size() - done, kCapacity - at);
    std::memcpy(bytes_ + at, bytes.data() + done, count);
    done += count;
  }
  end_ = end;
  Run* last = run_count_ > 0 ? &runs_[(first_run_ + run_count_ - 1) % kMostRuns] : nullptr;
  if (last == nullptr || last->stream != stream) {
    if (run_count_ == kMostRuns) forget_to(run(0).end);
    last = &runs_[(first_run_ + run_count_++) % kMostRuns];
    last->stream = stream;
  }
  last->end = end;
}

Retained::Piece Retained::next(std::size_t most) const noexcept {
  if (!waits()) return {};
  std::size_t low = 0, high = run_count_ - 1;  // the first run that ends behind what is sent
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (run(middle).end > sent_) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  const std::size_t at = static_cast<std::size_t>(sent_ % kCapacity);
  const std::size_t here = static_cast<std::size_t>(run(low).end - sent_);
  return {run(low).stream, {bytes_ + at, std::min({here, most, kCapacity - at})}};
}

void Retained::acknowledge(std::uint64_t position) noexcept { forget_to(std::min(position, sent_)); }

std::uint64_t Retained::rewind(std::uint64_t position) noexcept {
  forget_to(std::min(position, sent_));
  return sent_ = std::max(begin_, std::min(position, sent_));
}

}  // namespace tare::guest
