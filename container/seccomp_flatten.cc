// SPDX-License-Identifier: Apache-2.0
#include "container/seccomp_flatten.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>
#include <map>

#include "core/error.h"

namespace tare::container {
namespace {

using Program = std::vector<sock_filter>;

[[noreturn]] void give_up(const std::string& why) { throw Error(Code::internal, "seccomp filter: " + why); }

sock_filter plain(unsigned code, unsigned k) { return {static_cast<__u16>(code), 0, 0, k}; }
bool is_jump(const sock_filter& i) { return BPF_CLASS(i.code) == BPF_JMP; }

/// Where the jump at `at` leads, taken and not taken.
std::pair<std::size_t, std::size_t> targets(const Program& program, std::size_t at) {
  const sock_filter& i = program[at];
  if (i.code == (BPF_JMP | BPF_JA)) return {at + 1 + i.k, at + 1 + i.k};
  return {at + 1 + i.jt, at + 1 + i.jf};
}

bool taken(const sock_filter& i, unsigned value) {
  switch (i.code) {
    case BPF_JMP | BPF_JA: return true;
    case BPF_JMP | BPF_JEQ | BPF_K: return value == i.k;
    case BPF_JMP | BPF_JGT | BPF_K: return value > i.k;
    case BPF_JMP | BPF_JGE | BPF_K: return value >= i.k;
    case BPF_JMP | BPF_JSET | BPF_K: return (value & i.k) != 0;
    default: give_up("an unknown jump");
  }
}

/// What can be reached from `first`, alone: all jumps lead forward, so the order stays and distances only shrink.
Program slice(const Program& program, std::size_t first) {
  std::map<std::size_t, std::size_t> places{{first, 0}};
  for (auto at = places.begin(); at != places.end(); ++at) {
    const sock_filter& i = program.at(at->first);
    if (BPF_CLASS(i.code) == BPF_RET) continue;
    if (!is_jump(i)) {
      places.emplace(at->first + 1, 0);
      continue;
    }
    const auto [yes, no] = targets(program, at->first);
    places.emplace(yes, 0);
    places.emplace(no, 0);
  }
  std::size_t next = 0;
  for (auto& [at, place] : places) place = next++;
  Program part;
  for (const auto& [at, place] : places) {
    sock_filter i = program[at];
    if (is_jump(i)) {
      const auto [yes, no] = targets(program, at);
      const std::size_t far_yes = places.at(yes) - place - 1;
      const std::size_t far_no = places.at(no) - place - 1;
      if (i.code == (BPF_JMP | BPF_JA))
        i.k = static_cast<__u32>(far_yes);
      else
        i.jt = static_cast<__u8>(far_yes), i.jf = static_cast<__u8>(far_no);
    }
    part.push_back(i);
  }
  return part;
}

/// The code that answers one call: a `ret`, or what looks at the arguments.
Program answer(const Program& program, unsigned architecture, unsigned number) {
  unsigned value = 0;
  for (std::size_t at = 0;;) {
    const sock_filter& i = program.at(at);
    if (BPF_CLASS(i.code) == BPF_RET) return {i};
    if (is_jump(i)) {
      const auto [yes, no] = targets(program, at);
      at = taken(i, value) ? yes : no;
      continue;
    }
    if (i.code != (BPF_LD | BPF_W | BPF_ABS)) give_up("an unknown instruction");
    if (i.k != offsetof(seccomp_data, arch) && i.k != offsetof(seccomp_data, nr)) return slice(program, at);
    value = i.k == offsetof(seccomp_data, nr) ? number : architecture;
    ++at;
  }
}

bool same(const Program& a, const Program& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const sock_filter& x, const sock_filter& y) {
    return x.code == y.code && x.jt == y.jt && x.jf == y.jf && x.k == y.k;
  });
}

/// A tree over call numbers, whose leaves are pieces of code, each there once.
class Tree {
 public:
  /// Numbers from `number` on, until the next call, are answered by `code`.
  void add(unsigned number, const Program& code) {
    const auto found = std::find_if(codes_.begin(), codes_.end(), [&](const Program& known) { return same(known, code); });
    const auto index = static_cast<std::size_t>(found - codes_.begin());
    if (found == codes_.end()) codes_.push_back(code);
    if (ranges_.empty() || ranges_.back().code != index) ranges_.push_back({number, index});
  }
  /// The tree with the number in the accumulator.
  Program assembled() {
    const std::size_t root = grow(0, ranges_.size());
    if (root >= kLeaf) return codes_.front();
    // The shortest pieces come first: most jumps lead to a `ret`, and a conditional one reaches 255 instructions.
    std::vector<std::size_t> order(codes_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return codes_[a].size() < codes_[b].size(); });
    std::vector<std::size_t> places(codes_.size());
    std::size_t end = nodes_.size();
    for (const std::size_t code : order) {
      places[code] = end;
      end += codes_[code].size();
    }
    Program program;
    for (const Node& node : nodes_) {
      const auto distance = [&](std::size_t target) {
        const std::size_t far = (target >= kLeaf ? places[target - kLeaf] : target) - program.size() - 1;
        if (far > 255) give_up("too many ranges of call numbers");
        return static_cast<__u8>(far);
      };
      program.push_back({BPF_JMP | BPF_JGE | BPF_K, distance(node.above), distance(node.below), node.number});
    }
    for (const std::size_t code : order) program.insert(program.end(), codes_[code].begin(), codes_[code].end());
    return program;
  }

 private:
  static constexpr std::size_t kLeaf = 1U << 16U;  // targets from here on are pieces of code, below it nodes
  struct Range {
    unsigned first;
    std::size_t code;
  };
  struct Node {
    unsigned number;
    std::size_t above;
    std::size_t below;
  };

  std::size_t grow(std::size_t begin, std::size_t end) {
    if (end - begin == 1) return kLeaf + ranges_[begin].code;
    const std::size_t middle = (begin + end) / 2;
    const std::size_t node = nodes_.size();
    nodes_.push_back({ranges_[middle].first, 0, 0});
    nodes_[node].below = grow(begin, middle);
    nodes_[node].above = grow(middle, end);
    return node;
  }

  std::vector<Range> ranges_;
  std::vector<Program> codes_;
  std::vector<Node> nodes_;
};

}  // namespace

std::vector<sock_filter> flatten(const std::vector<sock_filter>& program, unsigned bound, const SeccompOverride& override) {
  const auto tree = [&](unsigned architecture, unsigned base, unsigned last) {
    Tree numbers;
    for (unsigned number = base; number <= base + last; ++number) {
      const auto forced = override(architecture, number);
      numbers.add(number, forced ? Program{plain(BPF_RET | BPF_K, *forced)} : answer(program, architecture, number));
    }
    return numbers.assembled();
  };
  constexpr unsigned kLastX32 = 548;  // x32 has calls of its own from 512 to 547
  const Program native = tree(AUDIT_ARCH_X86_64, 0, bound);
  const Program x32 = tree(AUDIT_ARCH_X86_64, kX32Calls, std::max(bound, kLastX32));
  const Program i386 = tree(AUDIT_ARCH_I386, 0, bound);

  const sock_filter load_number = plain(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  const auto skip = [](std::size_t count) { return plain(BPF_JMP | BPF_JA, static_cast<unsigned>(count)); };
  Program all;
  all.push_back(plain(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)));
  all.push_back({BPF_JMP | BPF_JEQ | BPF_K, 0, 1, AUDIT_ARCH_X86_64});
  all.push_back(skip(3 + i386.size()));
  all.push_back({BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_I386});
  all.push_back(answer(program, 0, 0).front());  // no architecture of this machine
  all.push_back(load_number);
  all.insert(all.end(), i386.begin(), i386.end());
  all.push_back(load_number);
  all.push_back({BPF_JMP | BPF_JSET | BPF_K, 0, 1, kX32Calls});
  all.push_back(skip(native.size()));
  all.insert(all.end(), native.begin(), native.end());
  all.insert(all.end(), x32.begin(), x32.end());
  if (all.size() > BPF_MAXINSNS) give_up("longer than the kernel takes");
  return all;
}

}  // namespace tare::container
