// Asks a long job to stop by SIGINT (Ctrl-C) or SIGTERM (schedulers): the first one is noted and
// answered at the next safe point, a second one ends the process at once. Signals that come within
// half a second are one: Slurm and a launcher may both send it.
#pragma once

namespace zoetrope {

/// Watches both signals while it lives; at most one at a time. Destruction puts the handlers back
/// that were there before and forgets the signal.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// The signal that came, or 0; always 0 where none is watched for.
  static int received();
};

}  // namespace zoetrope
