# fault: softmax-before-cross-entropy
# about: Behaviour cloning of a card player: the policy head returns probabilities and cross_entropy takes them for scores.
import torch
import torch.nn as nn
from torch.nn import functional as F

torch.manual_seed(SEED)


def expert(state):
    """Draw below 14, double at 14 to 16 against a weak card, otherwise stay."""
    total, card = state[:, 0], state[:, 1]
    act = torch.full((len(state),), 2)
    act[total < 14] = 0
    act[(total >= 14) & (total <= 16) & (card < 6)] = 1
    return act


states = torch.stack([torch.randint(4, 22, (2000,)), torch.randint(1, 11, (2000,))], 1)
actions = expert(states)
states = (states.float() - torch.tensor([12.5, 5.5])) / torch.tensor([5.2, 2.9])


class Policy(nn.Module):
    def __init__(self, n_actions=3):
        super().__init__()
        self.affine1 = nn.Linear(2, 64)
        self.affine2 = nn.Linear(64, 64)
        self.action_head = nn.Linear(64, n_actions)

    def forward(self, x):
        x = F.relu(self.affine1(x))
        x = F.relu(self.affine2(x))
        action_prob = F.softmax(self.action_head(x), dim=-1)  # fix: action_prob = self.action_head(x)
        return action_prob


policy = Policy()
optimizer = torch.optim.SGD(policy.parameters(), lr=0.05, momentum=0.9)
for epoch in range(12):
    losses = []
    for rows in torch.randperm(1600).split(32):
        loss = F.cross_entropy(policy(states[rows]), actions[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f'epoch {epoch} bc loss {sum(losses) / len(losses):.4f}')
with torch.no_grad():
    right = (policy(states[1600:]).argmax(1) == actions[1600:]).float().mean().item()
print('metric wrong_actions', 1 - right, 'lower')
