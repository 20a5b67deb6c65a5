#include "zoetrope/pipelines/pipeline_kind.h"

#include "zoetrope/base/error.h"

namespace zoetrope {

std::string class_name(const std::string& target) {
  return target.substr(target.rfind('.') + 1);
}

const std::vector<PipelineKind>& pipeline_kinds() {
  static const std::vector<PipelineKind> kinds = [] {
    const std::string wan = "fastvideo.pipelines.basic.wan.";
    const std::string game = "fastvideo.pipelines.basic.matrixgame2.";
    return std::vector<PipelineKind>{
        {"wan",
         {wan + "wan_pipeline.WanPipeline", wan + "wan_i2v_pipeline.WanImageToVideoPipeline",
          game + "matrixgame2_i2v_pipeline.MatrixGame2I2VPipeline"},
         false,
         false},
        {"wan-dmd", {wan + "wan_dmd_pipeline.WanDMDPipeline"}, true, false},
        {"wan-causal", {wan + "wan_causal_pipeline.WanCausalPipeline"}, false, true},
        {"wan-causal-dmd",
         {wan + "wan_causal_dmd_pipeline.WanCausalDMDPipeline",
          game + "matrixgame2_causal_dmd_pipeline.MatrixGame2CausalDMDPipeline"},
         true,
         true}};
  }();
  return kinds;
}

const PipelineKind& pipeline_kind(const std::string& text) {
  std::string names;
  for (const PipelineKind& kind : pipeline_kinds()) {
    if (text == kind.name) return kind;
    for (const std::string& target : kind.fastvideo_targets) {
      if (text == target || text == class_name(target)) return kind;
    }
    names += (names.empty() ? "" : ", ") + kind.name + " (" + kind.class_name() + ")";
  }
  fail<ConfigError>("pipeline: must be one of {}, but got '{}'", names, text);
}

}  // namespace zoetrope
