// SPDX-License-Identifier: Apache-2.0
#include "vm/xml.h"

namespace tare::vm {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&apos;"; break;
      case '\t':
      case '\n':
      case '\r': out += "&#" + std::to_string(static_cast<int>(c)) + ";"; break;  // else an attribute would turn it into a space
      default:
        if (static_cast<unsigned char>(c) >= 0x20) out += c;
    }
  }
  return out;
}

void Xml::tag(std::string_view element, Attributes attributes) {
  text_.append(2 * open_.size(), ' ');
  text_ += '<';
  text_ += element;
  for (const auto& [key, value] : attributes) {
    if (value.empty()) continue;
    text_ += ' ';
    text_ += key;
    text_ += "='" + escaped(value) + "'";
  }
}

Xml& Xml::begin(std::string_view element, Attributes attributes) {
  tag(element, attributes);
  text_ += ">\n";
  open_.emplace_back(element);
  return *this;
}

Xml& Xml::end() {
  const std::string element = open_.back();
  open_.pop_back();
  text_.append(2 * open_.size(), ' ');
  text_ += "</" + element + ">\n";
  return *this;
}

Xml& Xml::element(std::string_view element, Attributes attributes) {
  tag(element, attributes);
  text_ += "/>\n";
  return *this;
}

Xml& Xml::element(std::string_view element, Attributes attributes, std::string_view text) {
  tag(element, attributes);
  text_ += '>';
  text_ += escaped(text);
  text_ += "</";
  text_ += element;
  text_ += ">\n";
  return *this;
}

}  // namespace tare::vm
