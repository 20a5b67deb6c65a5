// What a method's config is refused for, as a run's config would be.
#pragma once

#include <string>
#include <vector>

#include "zoetrope/config/run_facts.h"
#include "zoetrope/config/schema.h"

namespace zoetrope::test {

/// The faults of the section `yaml` of a file `f`, the method of a run of which `run` holds.
template <class Config>
std::vector<std::string> config_faults(const std::string& yaml,
                                       const config::RunFacts& run = {.num_latent_frames = 12}) {
  const config::Node node = config::parse_yaml(yaml, "f");
  config::Issues issues;
  const config::ReadContext context{issues, "method"};
  Config method;
  if (config::schema_of<Config>().read(node, &method, context))
    method.check_run(node, run, context);
  return issues.faults();
}

}  // namespace zoetrope::test
