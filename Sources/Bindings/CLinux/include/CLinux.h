#pragma once

#include "namespace.h"
