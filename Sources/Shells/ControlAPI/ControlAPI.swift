// ControlAPI: how the command line talks to a running node, HTTP and JSON over a Unix socket.
//
// Duty: the reports and requests as `Codable` values (`StatusReport`, `CircuitsReport`, …), the
// services a node offers (`ClientService`, `RelayService`), the server that puts one of them on a
// socket only its group may use (`ControlServer`) and the client that asks it (`ControlClient`).
// Not its duty: what a circuit is, and how anything is shown.
//
// A command's way: `ControlClient` sends `POST /v1/up` to the socket; `ControlServer` asks the
// kernel who is at the other end (`PeerCredentials`), the route calls `ClientService.up`, and the
// answer, a report or a `Failure`, goes back as one JSON object with `"schema": 1`.
