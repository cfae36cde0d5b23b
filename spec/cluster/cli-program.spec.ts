import { expect } from 'chai';
import { createProgram } from '../../cluster/cli/program.js';

describe('the commands of a program', () => {
  const namesOf = (program: Awaited<ReturnType<typeof createProgram>>): string[] =>
    program.commands.map((command) => command.name());

  it('are the same when only the one that was typed is loaded', async () => {
    const whole = await createProgram();
    expect(namesOf(whole)).to.include.members(['up', 'store', 'kv', 'undeploy', 'bench']);
    for (const command of whole.commands) {
      const alone = (await createProgram(command.name())).commands.find(
        (one) => one.name() === command.name(),
      );
      expect(alone?.helpInformation(), command.name()).to.equal(command.helpInformation());
    }
  });

  it('are not all loaded for one', async () => {
    expect(namesOf(await createProgram('kv'))).to.deep.equal(['kv']);
  });

  it('are all there for a word that names none, so that help lists them and the nearest can be suggested', async () => {
    const all = namesOf(await createProgram());
    for (const word of ['--help', 'help', 'ku'])
      expect(namesOf(await createProgram(word))).to.deep.equal(all);
  });
});
