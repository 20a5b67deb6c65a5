// Groups without other ranks: every collective answers at once as if all ranks held what this one
// does. One process can so run any rank of a large layout, to see its shapes, memory and traffic;
// its numbers mean nothing. Source: the idea of c10d's FakeProcessGroup, whose header needs Python.
#pragma once

#include "zoetrope/distributed/mesh.h"

namespace zoetrope {

GroupFactory fake_groups();

}  // namespace zoetrope
