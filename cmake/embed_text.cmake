# embed_text(target file symbol): `extern const char* const symbol` in namespace zoetrope holds the file's text, so
# that the binary can be moved without it.
function(embed_text target file symbol)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
  file(READ "${file}" text)
  set(source "${CMAKE_CURRENT_BINARY_DIR}/embedded/${symbol}.cpp")
  file(CONFIGURE OUTPUT "${source}" @ONLY CONTENT [[
namespace zoetrope {
extern const char* const @symbol@;
const char* const @symbol@ = R"embedded(@text@)embedded";
}  // namespace zoetrope
]])
  target_sources(${target} PRIVATE "${source}")
endfunction()
