#include "zoetrope/networks/tokenizer/html_unescape.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <sstream>
#include <unordered_map>

#include "zoetrope/networks/tokenizer/unicode.h"

namespace zoetrope {
namespace {

// U+00A0 to U+00FF, in order. All may be written without semicolon.
constexpr const char* kLatin1Names =
    "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg "
    "plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest "
    "Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute "
    "Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc "
    "Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute "
    "ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide "
    "oslash ugrave uacute ucirc uuml yacute thorn yuml ";

// Names with their code points.
constexpr const char* kOtherNames =
    "quot 34 amp 38 lt 60 gt 62 OElig 338 oelig 339 Scaron 352 scaron 353 Yuml 376 fnof 402 "
    "circ 710 tilde 732 Alpha 913 Beta 914 Gamma 915 Delta 916 Epsilon 917 Zeta 918 Eta 919 "
    "Theta 920 Iota 921 Kappa 922 Lambda 923 Mu 924 Nu 925 Xi 926 Omicron 927 Pi 928 Rho 929 "
    "Sigma 931 Tau 932 Upsilon 933 Phi 934 Chi 935 Psi 936 Omega 937 alpha 945 beta 946 gamma "
    "947 delta 948 epsilon 949 zeta 950 eta 951 theta 952 iota 953 kappa 954 lambda 955 mu 956 "
    "nu 957 xi 958 omicron 959 pi 960 rho 961 sigmaf 962 sigma 963 tau 964 upsilon 965 phi 966 "
    "chi 967 psi 968 omega 969 thetasym 977 upsih 978 piv 982 ensp 8194 emsp 8195 thinsp 8201 "
    "zwnj 8204 zwj 8205 lrm 8206 rlm 8207 ndash 8211 mdash 8212 lsquo 8216 rsquo 8217 sbquo "
    "8218 ldquo 8220 rdquo 8221 bdquo 8222 dagger 8224 Dagger 8225 bull 8226 hellip 8230 permil "
    "8240 prime 8242 Prime 8243 lsaquo 8249 rsaquo 8250 oline 8254 frasl 8260 euro 8364 image "
    "8465 weierp 8472 real 8476 trade 8482 alefsym 8501 larr 8592 uarr 8593 rarr 8594 darr 8595 "
    "harr 8596 crarr 8629 lArr 8656 uArr 8657 rArr 8658 dArr 8659 hArr 8660 forall 8704 part "
    "8706 exist 8707 empty 8709 nabla 8711 isin 8712 notin 8713 ni 8715 prod 8719 sum 8721 "
    "minus 8722 lowast 8727 radic 8730 prop 8733 infin 8734 ang 8736 and 8743 or 8744 cap 8745 "
    "cup 8746 int 8747 there4 8756 sim 8764 cong 8773 asymp 8776 ne 8800 equiv 8801 le 8804 ge "
    "8805 sub 8834 sup 8835 nsub 8836 sube 8838 supe 8839 oplus 8853 otimes 8855 perp 8869 sdot "
    "8901 lceil 8968 rceil 8969 lfloor 8970 rfloor 8971 lang 10216 rang 10217 loz 9674 spades "
    "9824 clubs 9827 hearts 9829 diams 9830 "
    "apos 39 ";

// May be written without semicolon, like the Latin-1 names.
constexpr const char* kBareNames =
    "amp 38 lt 60 gt 62 quot 34 AMP 38 LT 60 GT 62 QUOT 34 COPY 169 REG 174";

struct Entity {
  char32_t code_point;
  bool without_semicolon;
};

const std::unordered_map<std::string, Entity>& entities() {
  static const std::unordered_map<std::string, Entity> table = [] {
    std::unordered_map<std::string, Entity> names;
    std::istringstream latin_1(kLatin1Names);
    std::string name;
    for (char32_t code_point = 0xA0; latin_1 >> name; ++code_point)
      names[name] = {code_point, true};
    uint32_t code_point = 0;
    for (std::istringstream other(kOtherNames); other >> name >> code_point;)
      names[name] = {code_point, false};
    for (std::istringstream bare(kBareNames); bare >> name >> code_point;)
      names[name] = {code_point, true};
    return names;
  }();
  return table;
}

bool is_ascii_alphanumeric(char32_t c) {
  return c < 0x80 && std::isalnum(static_cast<int>(c)) != 0;
}

// What a numeric reference stands for; nothing for control characters and noncharacters.
std::u32string numeric_character(uint64_t number) {
  if (number == 0 || number > 0x10FFFF || (number >= 0xD800 && number <= 0xDFFF)) return U"\uFFFD";
  const auto code_point = static_cast<char32_t>(number);
  if (code_point == 0x0D) return U"\r";
  if (code_point >= 0x80 && code_point <= 0x9F)
    return {windows_1252_character(static_cast<unsigned char>(code_point))};
  const bool control = code_point < 0x09 || code_point == 0x0B ||
                       (code_point >= 0x0E && code_point < 0x20) || code_point == 0x7F;
  const bool noncharacter =
      (code_point >= 0xFDD0 && code_point <= 0xFDEF) || (code_point & 0xFFFEU) == 0xFFFEU;
  if (control || noncharacter) return {};
  return {code_point};
}

struct Match {
  std::u32string replacement;
  size_t length;  ///< characters replaced, from the ampersand
};

// A numeric reference at the start of `text` (an ampersand), with or without semicolon.
std::optional<Match> match_number(std::u32string_view text) {
  if (text.size() < 3 || text[1] != U'#') return std::nullopt;
  const bool hexadecimal = text[2] == U'x' || text[2] == U'X';
  size_t end = hexadecimal ? 3 : 2;
  const size_t start = end;
  uint64_t number = 0;
  for (; end < text.size(); ++end) {
    const char32_t c = text[end];
    const bool is_digit = c < 0x80 && (hexadecimal ? std::isxdigit(static_cast<int>(c))
                                                   : std::isdigit(static_cast<int>(c))) != 0;
    if (!is_digit) break;
    const uint64_t digit = c <= U'9' ? c - U'0' : (c | 0x20U) - U'a' + 10;
    // Far beyond the last code point there is nothing to tell apart.
    number = std::min<uint64_t>(number * (hexadecimal ? 16 : 10) + digit, 0x1000000);
  }
  if (end == start) return std::nullopt;
  if (end < text.size() && text[end] == U';') ++end;
  return Match{numeric_character(number), end};
}

// The ASCII letters and digits after the ampersand, at most 32.
std::string name_at(std::u32string_view text) {
  std::string name;
  for (size_t i = 1; i < text.size() && name.size() < 32 && is_ascii_alphanumeric(text[i]); ++i) {
    name.push_back(static_cast<char>(text[i]));
  }
  return name;
}

std::optional<Match> match_complete_name(std::u32string_view text) {
  const std::string name = name_at(text);
  const size_t end = 1 + name.size();
  if (end >= text.size() || text[end] != U';') return std::nullopt;
  const auto found = entities().find(name);
  if (found == entities().end()) return std::nullopt;
  return Match{{found->second.code_point}, end + 1};
}

// The longest name that may stand without semicolon.
std::optional<Match> match_bare_name(std::u32string_view text) {
  for (std::string name = name_at(text); name.size() >= 2; name.pop_back()) {
    const auto found = entities().find(name);
    if (found != entities().end() && found->second.without_semicolon) {
      return Match{{found->second.code_point}, 1 + name.size()};
    }
  }
  return std::nullopt;
}

template <class Matcher>
std::u32string replace_references(std::u32string_view text, Matcher matcher) {
  std::u32string result;
  while (!text.empty()) {
    if (text.front() == U'&') {
      if (const std::optional<Match> match = matcher(text)) {
        result += match->replacement;
        text.remove_prefix(match->length);
        continue;
      }
    }
    result.push_back(text.front());
    text.remove_prefix(1);
  }
  return result;
}

}  // namespace

std::u32string unescape_html(std::u32string_view text) {
  return replace_references(text, [](std::u32string_view rest) {
    if (auto match = match_number(rest)) return match;
    if (auto match = match_complete_name(rest)) return match;
    return match_bare_name(rest);
  });
}

std::u32string unescape_complete_html(std::u32string_view text) {
  return replace_references(text, [](std::u32string_view rest) {
    const auto match = match_number(rest);
    if (!match) return match_complete_name(rest);
    return rest[match->length - 1] == U';' ? match : std::nullopt;
  });
}

}  // namespace zoetrope
