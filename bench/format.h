// SPDX-License-Identifier: Apache-2.0
// Numbers as people read them in tables and reports. Pure. Private to bench/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tare::bench {

/// "14.2 ms", "1.5 GiB", "812 ns/op", "1,204": three significant digits in the unit's own scale.
std::string value_text(double value, std::string_view unit);
/// "[13.9, 14.8]" in the scale that value_text(`value`) uses, so that the unit need not stand there twice.
std::string interval_text(double value, double low, double high, std::string_view unit);
/// "×1.92", "×0.998", "×43.1".
std::string ratio_text(double ratio);
/// "[1.85, 2.01]".
std::string ratio_interval_text(double ratio, double low, double high);

/// Columns a terminal needs for UTF-8 `text` of one-column characters.
std::size_t columns(std::string_view text);
/// `text` filled with spaces to `width` columns; at the left when `right`.
std::string padded(std::string_view text, std::size_t width, bool right = false);
/// `text` broken at spaces into lines of at most `width` columns.
std::vector<std::string> wrapped(std::string_view text, std::size_t width);

}  // namespace tare::bench
