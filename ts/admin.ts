/**
 * Administration: what an operator does to a running mesh, in the program by {@link Administration} and from a shell
 * by a local socket.
 *
 * What may enter: orders, looks and events, and the socket that carries them between processes of one user. Deliberately
 * absent: any network. The socket belongs to the user that runs the process, and nobody else can open it.
 */
export { type AdminEvent, Administration, type Dump, type InstanceTarget } from './admin/administration.js'
export { type AdminPeer, type AdminSession, connectAdmin, findAdmins } from './admin/client.js'
