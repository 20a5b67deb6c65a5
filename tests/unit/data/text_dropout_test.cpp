// Text dropout against numbers that CPython gave: [random.Random(s).random() for s in ...].
#include "zoetrope/data/text_dropout.h"

#include <gtest/gtest.h>

namespace zoetrope {
namespace {

TEST(PythonRandom, IsCPythons) {
  EXPECT_EQ(python_random(0), 0.8444218515250481);
  EXPECT_EQ(python_random(1), 0.13436424411240122);
  EXPECT_EQ(python_random(2), 0.9560342718892494);
  EXPECT_EQ(python_random(42), 0.6394267984578837);
  EXPECT_EQ(python_random(100), 0.1456692551041303);
  EXPECT_EQ(python_random(142), 0.5825884393831776);
  EXPECT_EQ(python_random(624), 0.18919460401599408);
  EXPECT_EQ(python_random(65535), 0.03704661600456849);
  EXPECT_EQ(python_random(2147483648LL), 0.3387958510019964);
  EXPECT_EQ(python_random(4294967295LL), 0.6353574441341173);
  EXPECT_EQ(python_random(4294967296LL), 0.11299430095636409);
  EXPECT_EQ(python_random(4294967297LL), 0.2309331037176915);
  EXPECT_EQ(python_random(1099511640121LL), 0.31036222241287226);
  EXPECT_EQ(python_random(4611686018427387911LL), 0.31083468606421183);
  EXPECT_EQ(python_random(-5), 0.6229016948897019);
  EXPECT_EQ(python_random(-8589934592LL), 0.011451121320907864);
}

TEST(DropsText, ZeroAndOneAreNeverAndAlways) {
  for (const SampleOrderKind kind : {SampleOrderKind::kKeyed, SampleOrderKind::kFastVideo}) {
    for (int64_t row = 0; row < 100; ++row) {
      EXPECT_FALSE(drops_text({row, 0, row}, kind, 5, 0.0));
      EXPECT_TRUE(drops_text({row, 0, row}, kind, 5, 1.0));
    }
  }
}

TEST(DropsText, FastVideosDecisionIsTheRowsAlone) {
  for (int64_t row = 0; row < 100; ++row) {
    EXPECT_EQ(drops_text({row, 0, row}, SampleOrderKind::kFastVideo, 5, 0.3),
              drops_text({row, 4, 1000 + row}, SampleOrderKind::kFastVideo, 5, 0.3));
  }
}

}  // namespace
}  // namespace zoetrope
