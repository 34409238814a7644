"""WGAN-GP once more, as a user of PyTorch writes it: modules, autograd and ``create_graph``; no line is ours."""

import torch

ACTIVATIONS = {
    "relu": torch.nn.ReLU,
    "leaky_relu": lambda: torch.nn.LeakyReLU(0.2),
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
    "identity": torch.nn.Identity,
}


def network(layers, start):
    """Return an ``nn.Sequential`` in float64 with the parameters ``start``."""
    modules = []
    for layer in layers:
        modules.append(torch.nn.Linear(layer.n_in, layer.n_out, bias=not layer.batch_norm))
        if layer.batch_norm:
            modules.append(torch.nn.BatchNorm1d(layer.n_out))
        modules.append(ACTIVATIONS[layer.activation]())
    made = torch.nn.Sequential(*modules).double()
    with torch.no_grad():
        for parameter, value in zip(made.parameters(), start, strict=True):
            parameter.copy_(torch.from_numpy(value))
    return made


def gradient_penalty(critic, rows, weight):
    """Return ``weight · mean((‖∂D/∂row‖ − 1)²)``, to be differentiated."""
    rows = rows.clone().requires_grad_(True)
    judged = critic(rows)
    (slopes,) = torch.autograd.grad(judged, rows, torch.ones_like(judged), create_graph=True)
    return weight * ((slopes.norm(2, dim=1) - 1) ** 2).mean()


class TorchCritic:
    """Both networks and their optimisers; each call is an iteration."""

    def __init__(self, spec, state):
        self.spec = spec
        self.g = network(spec.generator_layers, state.generator.params)
        self.d = network(spec.discriminator_layers, state.discriminator.params)
        settings = {"lr": spec.lr, "betas": (spec.beta1, spec.beta2), "eps": spec.eps}
        self.adam_g, self.adam_d = (torch.optim.Adam(net.parameters(), **settings) for net in (self.g, self.d))

    def __call__(self, real, z_d, z_g, u):
        """Return d_loss, g_loss and the penalty of an iteration on host arrays."""
        for rows, noise, share in zip(*map(torch.from_numpy, (real, z_d, u)), strict=True):
            fake = self.g(noise).detach()
            penalty = gradient_penalty(self.d, share * rows + (1 - share) * fake, self.spec.penalty)
            d_loss = self.d(fake).mean() - self.d(rows).mean() + penalty
            self.adam_d.zero_grad()
            d_loss.backward()
            self.adam_d.step()
        g_loss = -self.d(self.g(torch.from_numpy(z_g))).mean()
        self.adam_g.zero_grad()
        g_loss.backward()
        self.adam_g.step()
        return d_loss.item(), g_loss.item(), penalty.item()

    def arrays(self):
        """Return the parts of both networks in the order of ``gan_iteration``'s outputs, losses left out."""
        found = []
        for net, adam in ((self.g, self.adam_g), (self.d, self.adam_d)):
            found.append([parameter.detach().numpy() for parameter in net.parameters()])
            found += [
                [adam.state[parameter][key].numpy() for parameter in net.parameters()]
                for key in ("exp_avg", "exp_avg_sq")
            ]
            found.append([buffer.numpy() for name, buffer in net.named_buffers() if "running" in name])
        return found
