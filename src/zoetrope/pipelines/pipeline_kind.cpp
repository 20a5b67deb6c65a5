#include "zoetrope/pipelines/pipeline_kind.h"

#include "zoetrope/base/error.h"

namespace zoetrope {

const std::vector<PipelineKind>& pipeline_kinds() {
  static const std::vector<PipelineKind> kinds = [] {
    const std::string wan = "fastvideo.pipelines.basic.wan.";
    return std::vector<PipelineKind>{
        {"wan", wan + "wan_pipeline.WanPipeline", false, false},
        {"wan-dmd", wan + "wan_dmd_pipeline.WanDMDPipeline", true, false},
        {"wan-causal", wan + "wan_causal_pipeline.WanCausalPipeline", false, true},
        {"wan-causal-dmd", wan + "wan_causal_dmd_pipeline.WanCausalDMDPipeline", true, true}};
  }();
  return kinds;
}

const PipelineKind& pipeline_kind(const std::string& text) {
  std::string names;
  for (const PipelineKind& kind : pipeline_kinds()) {
    if (text == kind.name || text == kind.class_name() || text == kind.fastvideo_target)
      return kind;
    names += (names.empty() ? "" : ", ") + kind.name + " (" + kind.class_name() + ")";
  }
  fail<ConfigError>("pipeline: must be one of {}, but got '{}'", names, text);
}

}  // namespace zoetrope
