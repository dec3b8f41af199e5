// What goes over the socket between undercut and the plugin: simapp/gazebo/wire.py is the other side.
// Everything is little-endian and packed; a request is a Header and `count` items, and gets one reply.
#pragma once
#include <cstdint>

namespace undercut
{
constexpr uint32_t kMagic = 0x32435555;  // "UUC2": raised with every change of this file

enum class Op : uint32_t { place = 1, step = 2, look = 3, vary = 4, quit = 5 };

#pragma pack(push, 1)
struct Header
{
  uint32_t magic, op, count;
};

// place: put a car at rest. Metres, radians; base_link on the ground.
struct Place
{
  uint32_t car;
  double x, y, heading;
};

// step: drive a car for one control step. The first command holds until change_s, the second from then on.
struct Drive
{
  uint32_t car;
  double change_s, speed[2], steering[2];
};

// vary: from now on the car's tyres have this share of their grip.
struct Grip
{
  uint32_t car;
  double friction;
};

// look: one frame from a car's lens, with `things` Thing items after it.
struct Look
{
  uint32_t car;
  double ahead, left, up, pitch, yaw, hfov;  // the lens in the car's base_link frame; pitch is down
  double light;                              // brightness factor of a grey frame
  uint32_t reduce;                           // 0: in colour as drawn; n: grey, each pixel the mean of n x n
  uint32_t things;
};

struct Thing
{
  uint32_t look;  // index into simapp.camera.bodies.LOOKS
  double x, y, heading;
};

// reply to place and step: a State for every car of the world, in their order.
// reply to look: `count` frames, the top row first: height x width x 3 bytes of RGB, or (height / n) x (width / n) of grey.
struct State
{
  double x, y, z, roll, pitch, heading, ahead_mps, left_mps, yaw_rate, steering;
};

struct Reply
{
  uint32_t magic, count;
  uint64_t substeps;  // physics steps since the start
};
#pragma pack(pop)
}  // namespace undercut
