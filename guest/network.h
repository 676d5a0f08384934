// SPDX-License-Identifier: Apache-2.0
// The guest's network: loopback, and its end of the link when it has one.
#pragma once

#include <string_view>

namespace tare::guest::network {

/// Sets loopback up. Returns nullptr, or the step that failed with errno set; so do the others.
const char* set_loopback_up() noexcept;
/// Sets eth0 down, with its routes; does nothing in a guest without it.
const char* leave() noexcept;
/// The hardware address of eth0, which must be down.
const char* set_mac(std::string_view mac) noexcept;
/// Gives eth0 `address` ("10.213.7.2/30") with a default route to `gateway`, whose MAC is known and needs no ARP.
const char* configure(std::string_view address, std::string_view gateway, std::string_view gateway_mac) noexcept;

}  // namespace tare::guest::network
