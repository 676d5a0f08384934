// SPDX-License-Identifier: Apache-2.0
#include "core/phases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tare {
namespace {

using namespace std::chrono_literals;

constexpr Instant at_ms(std::int64_t ms) { return {1'000'000'000 + ms * 1'000'000}; }

void native_marks(Timeline& timeline) {
  timeline.mark(Mark::requested, at_ms(0));
  timeline.mark(Mark::prepared, at_ms(1));
  timeline.mark(Mark::launched, at_ms(3));
  timeline.mark(Mark::executed, at_ms(6));
  timeline.mark(Mark::ready, at_ms(10));
}

void machine_points(Timeline& timeline) {
  timeline.take(Course::boot);
  timeline.mark(Mark::requested, at_ms(0));
  timeline.mark(Mark::prepared, at_ms(2));
  timeline.note(Moment::spawned, at_ms(12));
  timeline.note(Moment::entered, at_ms(40));
  timeline.mark(Mark::launched, at_ms(45));  // libvirt returns later than the vCPU begins
  timeline.not_seen(Moment::decompressed, "none: started as ELF");
  const auto guest = [&](Mark mark, int ms) { timeline.mark(mark, at_ms(ms), GuestReading{0, at_ms(990), 2ms}); };
  guest(Mark::kernel, 50);
  guest(Mark::init, 800);
  timeline.note(Moment::loading, at_ms(801), 2ms);
  timeline.note(Moment::loaded, at_ms(850), 2ms);
  timeline.note(Moment::opened, at_ms(860), 2ms);
  timeline.note(Moment::rooted, at_ms(900), 2ms);
  guest(Mark::executed, 905);
  timeline.mark(Mark::ready, at_ms(1000));
}

const Phase& phase(const std::vector<Phase>& phases, std::string_view name) {
  for (const Phase& one : phases) {
    if (one.name == name) return one;
  }
  throw std::runtime_error("no phase " + std::string(name));
}

double sum(const std::vector<Phase>& phases) {
  double total = 0;
  for (const Phase& one : phases) total += one.part_of.empty() ? one.seconds.value_or(0) : 0;
  return total;
}

TEST(Phases, OfANativeStartAddUpToIt) {
  Timeline timeline;
  native_marks(timeline);
  const auto phases = phases_of(timeline);
  ASSERT_EQ(phases.size(), 4U);
  EXPECT_DOUBLE_EQ(phase(phases, "launch").seconds.value(), 0.002);
  EXPECT_NEAR(sum(phases), 0.010, 1e-12);
}

TEST(Phases, OfAMachineAddUpToItsStartAndNamePartsBesides) {
  Timeline timeline;
  machine_points(timeline);
  const auto phases = phases_of(timeline);
  EXPECT_NEAR(sum(phases), 1.0, 1e-12);
  EXPECT_DOUBLE_EQ(phase(phases, "qemu").seconds.value(), 0.028);
  EXPECT_DOUBLE_EQ(phase(phases, "kernel").seconds.value(), 0.750);
  EXPECT_EQ(phase(phases, "modules").part_of, "initramfs");
}

TEST(Phases, OnlyThoseBetweenTwoClocksHaveAnErrorBound) {
  Timeline timeline;
  machine_points(timeline);
  const auto phases = phases_of(timeline);
  EXPECT_EQ(phase(phases, "qemu").error_seconds, 0);
  EXPECT_DOUBLE_EQ(phase(phases, "firmware").error_seconds, 0.002);
  EXPECT_EQ(phase(phases, "kernel").error_seconds, 0);
  EXPECT_DOUBLE_EQ(phase(phases, "ready").error_seconds, 0.002);
}

TEST(Phases, ANegativeOneIsRefusedAndNotClamped) {
  Timeline timeline;
  timeline.note(Moment::entered, at_ms(52));
  machine_points(timeline);
  const auto phases = phases_of(timeline);
  EXPECT_FALSE(phase(phases, "firmware").seconds.has_value());
  EXPECT_EQ(phase(phases, "firmware").missing, "refused: it would be 2.00 ms below zero, and the guest's clock is known within 2.00 ms");
}

TEST(Phases, WhatWasNotSeenHasItsReasonAndNoSeconds) {
  Timeline timeline;
  machine_points(timeline);
  EXPECT_FALSE(phase(phases_of(timeline), "decompression").seconds.has_value());
  EXPECT_EQ(phase(phases_of(timeline), "decompression").missing, "none: started as ELF");
  Timeline early;
  early.mark(Mark::requested, at_ms(0));
  EXPECT_EQ(phase(phases_of(early), "prepare").missing, "'prepared' was not seen");
}

TEST(Phases, OfACloneAddUpToItsStart) {
  Timeline timeline;
  timeline.take(Course::clone);
  timeline.mark(Mark::requested, at_ms(0));
  timeline.mark(Mark::prepared, at_ms(1));
  timeline.mark(Mark::launched, at_ms(3));
  timeline.note(Moment::identified, at_ms(6));
  timeline.mark(Mark::ready, at_ms(10));
  const auto phases = phases_of(timeline);
  EXPECT_DOUBLE_EQ(phase(phases, "identity").seconds.value(), 0.003);
  EXPECT_NEAR(sum(phases), 0.010, 1e-12);
}

TEST(Phases, HaveAMeaningEach) {
  for (const Course course : {Course::process, Course::boot, Course::clone}) {
    Timeline timeline;
    timeline.take(course);
    const auto texts = phase_texts(course);
    const auto phases = phases_of(timeline);
    ASSERT_EQ(texts.size(), phases.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(texts[i].name, phases[i].name);
      EXPECT_FALSE(texts[i].meaning.empty());
    }
  }
}

}  // namespace
}  // namespace tare
