import { MemoryNetwork, natsTransport, realClock, seededRandom } from '../../actors/index.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { transportCompliance } from './transport-compliance.js';

transportCompliance('memory', async () => {
  const network = new MemoryNetwork(realClock, seededRandom(1));
  return { transport: (node) => network.transport(node), options: {}, stop: async () => {} };
});

if (hasNatsServer()) {
  transportCompliance('NATS', async () => {
    const server = await TestNatsServer.start();
    return {
      transport: () => natsTransport({ servers: server.url }),
      options: {},
      stop: () => server.stop(),
    };
  });
} else {
  describe('NATS transport', () => {
    it('is not tested: nats-server is not installed (Debian: apt-get install nats-server)');
  });
}
