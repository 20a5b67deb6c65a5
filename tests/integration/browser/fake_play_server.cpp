// Serves the page of `zoetrope play` with the fake world, for the test in a browser. Takes the
// milliseconds of a block.
#include <cstdlib>

#include "support/fake_play_session.h"
#include "zoetrope/serving/serve_play.h"

int main(int argc, char** argv) {
  zoetrope::test::FakePlaySession session;
  if (argc > 1) session.block_time = std::chrono::milliseconds(std::atoi(argv[1]));
  zoetrope::PlayOptions options;
  options.controls = zoetrope::PlayControls({"w", "s", "a", "d"}, 0.0);
  options.title = "a square";
  zoetrope::serve_play(session, options, 0);
}
