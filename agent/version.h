// SPDX-License-Identifier: Apache-2.0
// Which tare this is. TARE_VERSION and TARE_REVISION come from CMake.
#pragma once

#include <string>

namespace tare::agent {

inline const std::string kVersion = TARE_VERSION;
inline const std::string kRevision = TARE_REVISION;
inline const std::string kCompiler = "g++ " __VERSION__;

}  // namespace tare::agent
